"""Error kinds of statuses and exceptions, and which are retried."""

import email.utils
import os
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp

from flag_pipeline.errors import ErrorKind, SourceContractError, SourceError, TransientSourceError
from flag_pipeline.fetching.desync import UntrustworthyAnswerError
from flag_pipeline.fetching.encoding import EncodingError
from flag_pipeline.fetching.open_files import is_local_error

SUCCESSES, SERVER_ERRORS = range(200, 300), range(500, 600)
HTTP_ERRORS = (TimeoutError, EncodingError, aiohttp.ClientError)
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


def translated(exc: TimeoutError | EncodingError | aiohttp.ClientError, *, code: str, url: str) -> SourceError:
    """Return one of `HTTP_ERRORS` as a SourceError."""
    kind: ErrorKind | None = None
    if isinstance(exc, TimeoutError):
        kind, reason = ErrorKind.TIMEOUT, f"{url} timed out ({_limit_of(exc)})"
    elif isinstance(exc, EncodingError):
        reason = f"{url}: {exc}"
    elif isinstance(exc, aiohttp.ClientHttpProxyError):
        kind, reason = transient_kind(exc.status, exc.headers or {}), f"{url}: the proxy answered {exc.status}"
    elif isinstance(exc, _LASTING):
        reason = f"{url}: {_summary(exc)}"
    elif is_local_error(exc):
        kind, reason = ErrorKind.LOCAL, f"{url}: {_summary(exc)}; raise ulimit -n, or lower FLAG_MAX_REQUESTS"
    else:
        kind, reason = ErrorKind.CONNECTION, f"{url}: {_summary(exc)}"
    if kind is None:
        return SourceContractError(reason, code=code, url=url)
    return TransientSourceError(reason, code=code, url=url, kind=kind)


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
