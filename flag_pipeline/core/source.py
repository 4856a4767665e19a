"""One HTTP client for one source: bounded, patient, polite, and deaf to anything but good answers."""

import asyncio
import email.utils
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import cast

import aiohttp
from aiohttp.abc import AbstractResolver

from flag_pipeline.core.desync import CheckedConnector, UntrustworthyAnswerError, exchanging
from flag_pipeline.core.gate import Circuit, Gate
from flag_pipeline.core.guard import Guard, GuardedResolver
from flag_pipeline.core.presets import SourcePreset, find_preset
from flag_pipeline.core.retry import RetryPolicy, Sleep
from flag_pipeline.errors import (
    ErrorKind,
    FlagNotFoundError,
    SourceContractError,
    SourceDownError,
    SourceError,
    TransientSourceError,
)
from flag_pipeline.models import Effort, Validators
from flag_pipeline.settings import SourceSettings

logger = logging.getLogger(__name__)

USER_AGENT = f"flag-pipeline/{version('flag-pipeline')}"
MAX_REDIRECTS = 5
CHUNK_BYTES = 65_536
# Real ETags and dates are much shorter; a longer one is not worth keeping and sending.
MAX_VALIDATOR_CHARS = 256

OK, NOT_MODIFIED, NOT_FOUND, GONE, TOO_MANY_REQUESTS, SERVER_ERRORS = 200, 304, 404, 410, 429, range(500, 600)


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer.

    Attributes:
        content: the decoded body; None when the source says that nothing changed (304).
        validators: what to ask "changed since?" with next time.
    """

    content: bytes | None
    validators: Validators


class Meter:
    """Counts what one country costs while it is being fetched."""

    def __init__(self) -> None:
        self._started_at = asyncio.get_running_loop().time()
        self._requests = 0
        self._retries = 0
        self._body_bytes = 0

    def request_sent(self, *, again: bool) -> None:
        """Count one request, and whether it repeats an earlier one."""
        self._requests += 1
        self._retries += again

    def redirected(self, n_redirects: int) -> None:
        """Count the requests that an answer was redirected from."""
        self._requests += n_redirects

    def received(self, n_bytes: int) -> None:
        """Count decoded body bytes."""
        self._body_bytes += n_bytes

    def effort(self) -> Effort:
        """What was spent so far."""
        elapsed_s = asyncio.get_running_loop().time() - self._started_at
        return Effort(self._requests, self._retries, self._body_bytes, elapsed_s)


class FlagSource:
    """Fetches files of one source over HTTP.

    *origin* is where the preset's base URL is served, where that is somewhere else: the embedded mirror's address.

    Raises, from `fetch` alone: TransientSourceError when the retries are used up, SourceDownError when the host
    cannot be reached, FlagNotFoundError on 404 and 410, SourceContractError for every other answer that is no answer.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        preset: SourcePreset,
        settings: SourceSettings,
        *,
        origin: str = "",
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.preset = preset
        self._origin = origin or preset.base_url
        self.settings = settings
        self._session = session
        self.connections = cast("CheckedConnector", session.connector)
        self._gate = Gate(
            first=settings.first_requests, most=settings.max_requests, per_second=settings.requests_per_second
        )
        self._circuit = Circuit(down_after_s=settings.source_down_s)
        self._retry = RetryPolicy.from_settings(settings)
        self._sleep = sleep

    async def fetch(
        self, url: str, *, code: str, known: Validators, meter: Meter, codes: set[str] | None = None
    ) -> Answer:
        """Return the file at *url*, or `content=None` if it still is the one that *known* validates.

        *codes* are the countries that rely on the answer, where there may be others besides *code*.
        """
        relying = {code} if codes is None else codes
        tries = 0

        async def attempt() -> Answer:
            nonlocal tries
            tries += 1
            meter.request_sent(again=tries > 1)
            with self._watching(code=code, url=url), translating(code=code, url=url):
                async with exchanging(relying):
                    return await self._attempt(url, code=code, known=known, meter=meter)

        return await self._retry.call(attempt, turn=partial(self._turn, code=code, url=url), sleep=self._sleep)

    @asynccontextmanager
    async def _turn(self, *, code: str, url: str) -> AsyncIterator[None]:
        """Wait until a request may be sent, and hold its slot inside the block."""
        async with self._gate.slot():
            if not self._circuit.is_open:
                await self._gate.keep_pace()
            if self._circuit.is_open:
                raise SourceDownError(f"{self.preset.name} cannot be reached", code=code, url=url)
            yield

    @contextmanager
    def _watching(self, *, code: str, url: str) -> Iterator[None]:
        """Note when the attempt inside the block finds the host down, and say so once."""
        started_at = asyncio.get_running_loop().time()
        try:
            yield
        except TransientSourceError as exc:
            if not self._is_unreachable(exc):
                raise
            was_open = self._circuit.is_open
            self._gate.pause(self._circuit.failed(started_at))
            if not self._circuit.is_open:
                raise
            if not was_open:
                logger.error("%s cannot be reached; nothing more is asked of it: %s", self.preset.name, exc)  # noqa: TRY400
            raise SourceDownError(str(exc), code=code, url=url) from exc

    def _is_unreachable(self, exc: TransientSourceError) -> bool:
        # Connections fail for the whole host, and a host that has not answered anyone yet may hang for all. Once it
        # has answered, a silence is one country's own.
        if isinstance(exc.__cause__, _UNREACHABLE):
            return True
        return exc.kind is ErrorKind.TIMEOUT and not self._circuit.has_answered

    async def _attempt(self, url: str, *, code: str, known: Validators, meter: Meter) -> Answer:
        address = self._origin + url.removeprefix(self.preset.base_url)
        async with self._session.get(address, headers=_conditions(known), max_redirects=MAX_REDIRECTS) as reply:
            self._circuit.answered()
            meter.redirected(len(reply.history))
            if _stays_open(reply):
                self._gate.widen()
            if reply.status == NOT_MODIFIED and known != Validators():
                return Answer(None, known)
            if reply.status != OK:
                raise self._refusal(reply, code=code, url=url)
            content = await self._read(reply, code=code, url=url, meter=meter)
        return Answer(content, Validators(_validator(reply, "ETag"), _validator(reply, "Last-Modified")))

    async def _read(self, reply: aiohttp.ClientResponse, *, code: str, url: str, meter: Meter) -> bytes:
        cap = self.settings.max_body_bytes
        chunks: list[bytes] = []
        # Content-Length is the encoded size and only the server's word; it may spare a download, never allow one.
        size = reply.content_length or 0
        if size <= cap:
            async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
                meter.received(len(chunk))
                chunks.append(chunk)
                if (size := sum(map(len, chunks))) > cap:
                    break
        if size > cap:
            raise SourceContractError(f"body is larger than {cap} bytes", code=code, url=url)
        return b"".join(chunks)

    def _refusal(self, reply: aiohttp.ClientResponse, *, code: str, url: str) -> SourceError:
        status = reply.status
        if status in {NOT_FOUND, GONE}:
            return FlagNotFoundError(f"the source has no {url} ({status})", code=code, url=url)
        if status == TOO_MANY_REQUESTS or status in SERVER_ERRORS:
            retry_after_s = parse_retry_after(reply.headers.get("Retry-After", ""))
            if retry_after_s is not None:
                self._gate.pause(self._retry.obeyed_s(retry_after_s))
            kind = ErrorKind.THROTTLED if status == TOO_MANY_REQUESTS else ErrorKind.SERVER_ERROR
            return TransientSourceError(
                f"{url} answered {status}", code=code, url=url, kind=kind, retry_after_s=retry_after_s
            )
        return SourceContractError(f"{url} answered {status}", code=code, url=url)


@asynccontextmanager
async def open_session(
    origin: str, settings: SourceSettings, *, resolver: AbstractResolver | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the HTTP session for one run on the running loop: time-outs, connections, where requests may go.

    Requests may go to the host of *origin* and to the redirect hosts of the settings, nowhere else. *resolver* looks
    names up instead of the system's.
    """
    timeout = aiohttp.ClientTimeout(
        total=settings.timeout_s,
        connect=settings.connect_timeout_s,
        sock_connect=settings.connect_timeout_s,
        sock_read=settings.read_timeout_s,
    )
    guard = Guard(origin, settings.redirect_hosts, is_public=find_preset(settings.source).is_public)
    guarded = GuardedResolver(guard, resolver or aiohttp.DefaultResolver())
    async with aiohttp.ClientSession(
        # The gate bounds requests; a limit here would let queueing eat the deadline.
        connector=CheckedConnector(limit=0, resolver=guarded),
        timeout=timeout,
        headers={"User-Agent": USER_AGENT},
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=[guard],
    ) as session:
        try:
            yield session
        finally:
            await guarded.close()


def _conditions(known: Validators) -> dict[str, str]:
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _validator(reply: aiohttp.ClientResponse, name: str) -> str:
    """Return the header's value if it can be stored and sent back, else an empty text."""
    value = reply.headers.get(name, "")
    return value if value.isascii() and value.isprintable() and len(value) <= MAX_VALIDATOR_CHARS else ""


def _stays_open(reply: aiohttp.ClientResponse) -> bool:
    """Whether the server keeps the connection for another request (RFC 9112, section 9.3)."""
    option = reply.headers.get("Connection", "").lower()
    return option == "keep-alive" or (reply.version == aiohttp.HttpVersion11 and option != "close")


def parse_retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, None if it asks for nothing sensible.

    Both forms count: seconds, and an HTTP date. Source: RFC 9110, section 10.2.3.
    """
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
    """Turn what aiohttp raises inside the block into SourceErrors, the cause chained."""
    try:
        yield
    except TimeoutError as exc:
        raise _transient(ErrorKind.TIMEOUT, f"{url} timed out", code=code, url=url) from exc
    except _LASTING as exc:
        raise SourceContractError(f"{url}: {_summary(exc)}", code=code, url=url) from exc
    except aiohttp.ClientError as exc:
        reason = f"{url}: {_summary(exc)}"
        raise _transient(ErrorKind.CONNECTION, reason, code=code, url=url) from exc


# Asking again will not mend these: redirects that may not be followed, what is no HTTP, a wrong certificate.
_LASTING = (
    aiohttp.ClientResponseError,
    aiohttp.ClientSSLError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    aiohttp.RedirectClientError,
    aiohttp.ServerFingerprintMismatch,
    UntrustworthyAnswerError,
)
# No connection was opened: nobody else's request would have fared better.
_UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def _transient(kind: ErrorKind, message: str, *, code: str, url: str) -> TransientSourceError:
    return TransientSourceError(message, code=code, url=url, kind=kind)


def _summary(exc: aiohttp.ClientError) -> str:
    # Some messages quote what the server sent, at any length.
    return " ".join(str(exc).split())[:200] or type(exc).__name__
