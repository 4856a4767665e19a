"""Error kinds of statuses and exceptions, and which are retried."""

import email.utils
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

import aiohttp

from flag_pipeline.errors import ErrorKind, SourceContractError, TransientSourceError
from flag_pipeline.fetching.desync import UntrustworthyAnswerError
from flag_pipeline.fetching.encoding import EncodingError
from flag_pipeline.fetching.open_files import is_local_error

SUCCESSES, SERVER_ERRORS = range(200, 300), range(500, 600)
# Retried besides server errors (RFC 9110, RFC 8470, RFC 6585).
TRANSIENT_STATUSES = {
    202: ErrorKind.THROTTLED,
    408: ErrorKind.TIMEOUT,
    421: ErrorKind.CONNECTION,
    425: ErrorKind.THROTTLED,
    429: ErrorKind.THROTTLED,
}


def transient_kind(status: int, headers: Mapping[str, str]) -> ErrorKind | None:
    """Return a retried status's error kind, None for others."""
    if status in SERVER_ERRORS:
        return ErrorKind.SERVER_ERROR
    if "Retry-After" in headers and status not in SUCCESSES:
        return TRANSIENT_STATUSES.get(status, ErrorKind.THROTTLED)
    return TRANSIENT_STATUSES.get(status)


def parse_retry_after(value: str) -> float | None:
    """Return Retry-After in seconds, None if invalid (RFC 9110, section 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


@contextmanager
def translating(*, code: str, url: str) -> Iterator[None]:
    """Translate aiohttp's exceptions to SourceErrors."""
    try:
        yield
    except TimeoutError as exc:
        reason = f"{url} timed out ({_limit_of(exc)})"
        raise _transient(ErrorKind.TIMEOUT, reason, code=code, url=url) from exc
    except EncodingError as exc:
        raise SourceContractError(f"{url}: {exc}", code=code, url=url) from exc
    except aiohttp.ClientHttpProxyError as exc:
        kind = transient_kind(exc.status, exc.headers or {})
        reason = f"{url}: the proxy answered {exc.status}"
        if kind is None:
            raise SourceContractError(reason, code=code, url=url) from exc
        raise _transient(kind, reason, code=code, url=url) from exc
    except _LASTING as exc:
        raise SourceContractError(f"{url}: {_summary(exc)}", code=code, url=url) from exc
    except aiohttp.ClientError as exc:
        kind, reason = ErrorKind.CONNECTION, f"{url}: {_summary(exc)}"
        if is_local_error(exc):
            kind, reason = ErrorKind.LOCAL, f"{reason}; raise ulimit -n, or lower FLAG_MAX_REQUESTS"
        raise _transient(kind, reason, code=code, url=url) from exc


# Not retried.
_LASTING = (
    aiohttp.ClientResponseError,
    aiohttp.ClientSSLError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.RedirectClientError,
    aiohttp.ServerFingerprintMismatch,
    UntrustworthyAnswerError,
)
# All requests to the host fail.
UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def _limit_of(exc: TimeoutError) -> str:
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        return "FLAG_CONNECT_TIMEOUT_S"
    return (
        "FLAG_READ_TIMEOUT_S" if isinstance(exc, aiohttp.SocketTimeoutError) else "FLAG_TIMEOUT_S, FLAG_RETRY_TOTAL_S"
    )


def _transient(kind: ErrorKind, message: str, *, code: str, url: str) -> TransientSourceError:
    return TransientSourceError(message, code=code, url=url, kind=kind)


def _summary(exc: aiohttp.ClientError) -> str:
    if isinstance(exc, aiohttp.TooManyRedirects):
        location = exc.history[-1].headers.get("Location", "") if exc.history else ""
        return f"too many redirects: {len(exc.history)}, the last one to {location[:200]}"
    if isinstance(exc, aiohttp.ClientConnectorCertificateError):
        why = _why(exc.certificate_error)
        return f"cannot connect to {exc.host}:{exc.port}: {why}; SSL_CERT_FILE names authorities to trust"
    if isinstance(exc, aiohttp.ClientConnectorError):
        return f"cannot connect to {exc.host}:{exc.port}: {_why(exc.os_error)}"
    # Messages may quote the response.
    return " ".join(str(exc).split())[:200] or type(exc).__name__


def _why(error: Exception) -> str:
    """Return the system's words; asyncio's repeat the address, and aiohttp's have `ssl:default`."""
    is_numbered = isinstance(error, OSError) and not isinstance(error, ssl.SSLError | socket.gaierror)
    number = getattr(error, "errno", None) or 0
    text = os.strerror(number) if is_numbered and number > 0 else getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:200]
