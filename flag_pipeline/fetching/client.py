"""One HTTP client for one source: bounded, patient, polite, and deaf to anything but good answers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import cast

import aiohttp
from aiohttp.abc import AbstractResolver

from flag_pipeline.core.presets import EMBEDDED, SourcePreset, find_preset
from flag_pipeline.errors import (
    ErrorKind,
    FlagNotFoundError,
    SourceContractError,
    SourceDownError,
    SourceError,
    TransientSourceError,
)
from flag_pipeline.fetching.circuit_breaker import CircuitBreaker
from flag_pipeline.fetching.connection_reuse import ClosingResponse, fresh_connection
from flag_pipeline.fetching.desync import CheckedConnector, exchanging
from flag_pipeline.fetching.encoding import ACCEPTED, decode, max_encoded_bytes
from flag_pipeline.fetching.host_policy import HostPolicy, HostPolicyResolver
from flag_pipeline.fetching.http_errors import UNREACHABLE, parse_retry_after, transient_kind, translating
from flag_pipeline.fetching.limiter import RequestLimiter
from flag_pipeline.fetching.middlewares import EnvironmentProxies, OwnHeaders
from flag_pipeline.fetching.models import FetchStatistics, Validators
from flag_pipeline.fetching.retry import RetryPolicy, Sleep, Try
from flag_pipeline.fetching.secret_headers import HEADERS_VARIABLE, headers_for
from flag_pipeline.settings import SourceSettings

logger = logging.getLogger(__name__)

USER_AGENT = f"flag-pipeline/{version('flag-pipeline')}"
MAX_REDIRECTS = 5
CHUNK_BYTES = 65_536
# Real ETags and dates are much shorter; a longer one is not worth keeping and sending.
MAX_VALIDATOR_CHARS = 256

# 203 is the file as a proxy changed it: what it is worth is seen when it is checked.
OK, NON_AUTHORITATIVE, NOT_MODIFIED, UNAUTHORIZED, NOT_FOUND, GONE = 200, 203, 304, 401, 404, 410
# After these the connections in the pool are suspect too: what ended one may have ended all.
_OF_THE_CONNECTION = frozenset({ErrorKind.CONNECTION, ErrorKind.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer.

    Attributes:
        content: the decoded body; None when the source says that nothing changed (304).
        validators: what to ask "changed since?" with next time.
    """

    content: bytes | None
    validators: Validators


class FetchCounter:
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

    def statistics(self) -> FetchStatistics:
        """What was spent so far."""
        elapsed_s = asyncio.get_running_loop().time() - self._started_at
        return FetchStatistics(self._requests, self._retries, self._body_bytes, elapsed_s)


class FlagSource:
    """Fetches files of one source over HTTP.

    *origin* is where the preset's base URL is served, where that is somewhere else: the embedded mirror's address.
    *max_requests* is how many requests there are files for, where that is fewer than the settings say.

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
        max_requests: int | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.preset = preset
        self._origin = origin or preset.base_url
        self.settings = settings
        self._session = session
        self.connections = cast("CheckedConnector", session.connector)
        self._limiter = RequestLimiter(
            first=settings.first_requests,
            most=max_requests or settings.max_requests,
            per_second=settings.requests_per_second,
        )
        self._breaker = CircuitBreaker(down_after_s=settings.source_down_s)
        self._retry = RetryPolicy.from_settings(settings)
        self._sleep = sleep

    async def fetch(
        self, url: str, *, code: str, known: Validators, counter: FetchCounter, codes: set[str] | None = None
    ) -> Answer:
        """Return the file at *url*, or `content=None` if it still is the one that *known* validates.

        *codes* are the countries that rely on the answer, where there may be others besides *code*.
        """
        relying = {code} if codes is None else codes

        async def attempt(this: Try) -> Answer:
            counter.request_sent(again=this.last is not None)
            is_suspect = this.last is not None and this.last.kind in _OF_THE_CONNECTION
            with (
                self._watching(code=code, url=url),
                translating(code=code, url=url),
                fresh_connection(is_wanted=is_suspect),
            ):
                async with exchanging(relying), asyncio.timeout(this.left_s):
                    return await self._attempt(url, code=code, known=known, counter=counter)

        return await self._retry.call(attempt, turn=partial(self._turn, code=code, url=url), sleep=self._sleep)

    @asynccontextmanager
    async def _turn(self, *, code: str, url: str) -> AsyncIterator[None]:
        """Wait until a request may be sent, and hold its slot inside the block."""
        async with self._limiter.slot():
            if not self._breaker.is_open:
                await self._limiter.keep_pace()
            if self._breaker.is_open:
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
            was_open = self._breaker.is_open
            self._limiter.pause(self._breaker.failed(started_at))
            if not self._breaker.is_open:
                raise
            if not was_open:
                logger.error("%s cannot be reached; nothing more is asked of it: %s", self.preset.name, exc)  # noqa: TRY400
            raise SourceDownError(str(exc), code=code, url=url) from exc

    def _is_unreachable(self, exc: TransientSourceError) -> bool:
        # Connections fail for the whole host, and a host that has not answered anyone yet may hang for all. Once it
        # has answered, a silence is one country's own.
        if isinstance(exc.__cause__, UNREACHABLE):
            return exc.kind is not ErrorKind.LOCAL
        return exc.kind is ErrorKind.TIMEOUT and not self._breaker.has_answered

    async def _attempt(self, url: str, *, code: str, known: Validators, counter: FetchCounter) -> Answer:
        address = self._origin + url.removeprefix(self.preset.base_url)
        async with self._session.get(address, headers=_conditions(known), max_redirects=MAX_REDIRECTS) as reply:
            self._breaker.answered()
            counter.redirected(len(reply.history))
            if _stays_open(reply):
                self._limiter.widen()
            if reply.status == NOT_MODIFIED and known != Validators():
                return Answer(None, known)
            if reply.status not in {OK, NON_AUTHORITATIVE}:
                raise self._refusal(reply, code=code, url=url)
            content = await self._read(reply, code=code, url=url, counter=counter)
        return Answer(content, Validators(_validator(reply, "ETag"), _validator(reply, "Last-Modified")))

    async def _read(self, reply: aiohttp.ClientResponse, *, code: str, url: str, counter: FetchCounter) -> bytes:
        """Return the decoded body, of which no more than the cap and a chunk is ever taken."""
        cap = self.settings.max_body_bytes
        coding = reply.headers.get("Content-Encoding", "")
        encoded_cap = max_encoded_bytes(cap) if coding else cap
        chunks: list[bytes] = []
        # Content-Length is only the server's word; it may spare a download, never allow one.
        size = reply.content_length or 0
        if size <= encoded_cap:
            async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
                counter.received(0 if coding else len(chunk))
                chunks.append(chunk)
                if (size := sum(map(len, chunks))) > encoded_cap:
                    break
        body = b"".join(chunks)
        if coding and size <= encoded_cap:
            body = decode(body, coding, max_bytes=cap)
            size = len(body)
            counter.received(size)
        if size > cap:
            raise SourceContractError(
                f"body is larger than {cap} bytes: raise FLAG_MAX_BODY_BYTES to accept it", code=code, url=url
            )
        return body

    def _refusal(self, reply: aiohttp.ClientResponse, *, code: str, url: str) -> SourceError:
        status, message = reply.status, f"{url} answered {reply.status}"
        if status in {NOT_FOUND, GONE}:
            return FlagNotFoundError(f"the source has no {url} ({status})", code=code, url=url)
        kind = transient_kind(status, reply.headers)
        if kind is None:
            hint = f"; {HEADERS_VARIABLE} sets request headers" if status == UNAUTHORIZED else ""
            return SourceContractError(message + hint, code=code, url=url)
        retry_after_s = parse_retry_after(reply.headers.get("Retry-After", ""))
        if retry_after_s is not None:
            self._limiter.pause(self._retry.obeyed_s(retry_after_s))
        return TransientSourceError(message, code=code, url=url, kind=kind, retry_after_s=retry_after_s)


@asynccontextmanager
async def open_session(
    origin: str, settings: SourceSettings, *, resolver: AbstractResolver | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open the HTTP session for one run on the running loop: time-outs, connections, where requests may go.

    Requests may go to the host of *origin* and to the redirect hosts of the settings, nowhere else. *resolver* looks
    names up instead of the system's. The environment has the source's own headers and the proxies.
    """
    timeout = aiohttp.ClientTimeout(
        total=settings.timeout_s,
        connect=settings.connect_timeout_s,
        sock_connect=settings.connect_timeout_s,
        sock_read=settings.read_timeout_s,
    )
    preset = find_preset(settings.source)
    is_public = settings.source_is_public or preset.is_public
    # The embedded mirror is in this process.
    proxies = EnvironmentProxies() if settings.trust_proxy and preset is not EMBEDDED else None
    proxy_hosts = proxies.hosts if proxies else ()
    host_policy = HostPolicy(origin, settings.redirect_hosts, is_public=is_public, proxy_hosts=proxy_hosts)
    middlewares: list[aiohttp.ClientMiddlewareType] = [host_policy, OwnHeaders(origin, headers_for(settings.source))]
    if proxies:
        middlewares.append(proxies)
    policy_resolver = HostPolicyResolver(host_policy, resolver or aiohttp.DefaultResolver())
    async with aiohttp.ClientSession(
        # The limiter bounds requests; a limit here would let queueing eat the deadline.
        connector=CheckedConnector(limit=0, resolver=policy_resolver),
        response_class=ClosingResponse,
        timeout=timeout,
        headers={"User-Agent": settings.user_agent or USER_AGENT, "Accept-Encoding": ACCEPTED},
        # aiohttp's own decoding does not know x-gzip, and reports a body that is not what it says like a cut one.
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        middlewares=middlewares,
    ) as session:
        try:
            yield session
        finally:
            await policy_resolver.close()


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
