"""HTTP client for one source: limits requests, retries transient failures, rejects invalid responses."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

import aiohttp

from flag_pipeline.errors import (
    ErrorKind,
    FlagNotFoundError,
    SourceContractError,
    SourceDownError,
    SourceError,
    TransientSourceError,
)
from flag_pipeline.fetching.circuit_breaker import CircuitBreaker
from flag_pipeline.fetching.config import HttpSettings
from flag_pipeline.fetching.desync import CheckedConnector, Exchange
from flag_pipeline.fetching.encoding import decode, max_encoded_bytes
from flag_pipeline.fetching.http_errors import HTTP_ERRORS, UNREACHABLE, parse_retry_after, transient_kind, translated
from flag_pipeline.fetching.limiter import RequestLimiter
from flag_pipeline.fetching.models import FetchStatistics, Validators
from flag_pipeline.fetching.retry import Attempt, RetryPolicy, Sleep
from flag_pipeline.fetching.secret_headers import HEADERS_VARIABLE

logger = logging.getLogger(__name__)

MAX_REDIRECTS = 5
CHUNK_BYTES = 65_536
MAX_VALIDATOR_CHARS = 256

# A proxy answers 203 if it changed the file.
OK, NON_AUTHORITATIVE, NOT_MODIFIED, UNAUTHORIZED, NOT_FOUND, GONE = 200, 203, 304, 401, 404, 410
# After these, the pool's other connections may be broken too.
_CONNECTION_KINDS = frozenset({ErrorKind.CONNECTION, ErrorKind.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response; `content` is decoded, or None if unchanged (304)."""

    content: bytes | None
    validators: Validators


class FetchCounter:
    """Counts requests and bytes for one country."""

    def __init__(self) -> None:
        self._started_at = asyncio.get_running_loop().time()
        self._requests = 0
        self._retries = 0
        self._body_bytes = 0

    def request_sent(self, *, again: bool) -> None:
        """Count one request."""
        self._requests += 1
        self._retries += again

    def redirected(self, n_redirects: int) -> None:
        """Count redirects."""
        self._requests += n_redirects

    def received(self, n_bytes: int) -> None:
        """Count decoded body bytes."""
        self._body_bytes += n_bytes

    def statistics(self) -> FetchStatistics:
        """Return the counts."""
        elapsed_s = asyncio.get_running_loop().time() - self._started_at
        return FetchStatistics(self._requests, self._retries, self._body_bytes, elapsed_s)


class SourceClient:
    """Fetches files of one source over HTTP.

    Messages and records contain *base_url*; requests go to *origin*.
    """

    def __init__(  # noqa: PLR0913 - all but two are keyword-only
        self,
        session: aiohttp.ClientSession,
        settings: HttpSettings,
        *,
        name: str,
        base_url: str,
        origin: str = "",
        max_requests: int | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._name = name
        self._base_url = base_url
        self._origin = origin or base_url
        self._max_body_bytes = settings.max_body_bytes
        self._timeout_s = settings.timeout_s
        self._session = session
        self.connections = cast("CheckedConnector", session.connector)
        self._limiter = RequestLimiter(
            first_requests=settings.first_requests,
            max_requests=max_requests or settings.max_requests,
            per_second=settings.requests_per_second,
        )
        self._breaker = CircuitBreaker(down_after_s=settings.source_down_s)
        self._retry = RetryPolicy.from_settings(settings)
        self._sleep = sleep

    async def fetch(
        self, url: str, *, code: str, known: Validators, counter: FetchCounter, codes: set[str] | None = None
    ) -> Answer:
        """Return the file at *url*, or `content=None` if it has not changed since *known*.

        *codes* are the countries that use the answer.

        Raises TransientSourceError after the last attempt, SourceDownError if the host is unreachable,
        FlagNotFoundError on 404 and 410, SourceContractError on other invalid responses.
        """
        users = {code} if codes is None else codes

        async def attempt(this: Attempt) -> Answer:
            counter.request_sent(again=this.last is not None)
            is_suspect = this.last is not None and this.last.kind in _CONNECTION_KINDS
            started_at = asyncio.get_running_loop().time()
            try:
                async with (
                    Exchange(users, opens_connection=is_suspect),
                    asyncio.timeout(min(this.left_s, self._timeout_s)),
                ):
                    return await self._attempt(url, code=code, known=known, counter=counter)
            except HTTP_ERRORS as exc:
                raise self._noted(translated(exc, code=code, url=url), exc, started_at) from exc

        return await self._retry.call(attempt, turn=partial(self._turn, code=code, url=url), sleep=self._sleep)

    @asynccontextmanager
    async def _turn(self, *, code: str, url: str) -> AsyncIterator[None]:
        async with self._limiter:
            if not self._breaker.is_open:
                await self._limiter.keep_pace()
            if self._breaker.is_open:
                raise SourceDownError(f"{self._name} cannot be reached", code=code, url=url)
            yield

    def _noted(self, error: SourceError, cause: Exception, started_at: float) -> SourceError:
        """Count an unreachable host; return *error*, or SourceDownError if it is given up."""
        if not isinstance(error, TransientSourceError) or not self._is_unreachable(error, cause):
            return error
        was_open = self._breaker.is_open
        self._limiter.pause(self._breaker.record_failure(started_at))
        if not self._breaker.is_open:
            return error
        if not was_open:
            logger.error("%s cannot be reached; no more requests are sent to it: %s", self._name, error)
        return SourceDownError(str(error), code=error.code, url=error.url)

    def _is_unreachable(self, error: TransientSourceError, cause: Exception) -> bool:
        # Before the first answer a time-out concerns the host, later one country.
        if isinstance(cause, UNREACHABLE):
            return error.kind is not ErrorKind.LOCAL
        return error.kind is ErrorKind.TIMEOUT and not self._breaker.has_answered

    async def _attempt(self, url: str, *, code: str, known: Validators, counter: FetchCounter) -> Answer:
        address = self._origin + url.removeprefix(self._base_url)
        async with self._session.get(address, headers=_conditions(known), max_redirects=MAX_REDIRECTS) as reply:
            self._breaker.record_answer()
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
        max_bytes = self._max_body_bytes
        coding = reply.headers.get("Content-Encoding", "")
        max_received = max_encoded_bytes(max_bytes) if coding else max_bytes
        chunks: list[bytes] = []
        # A wrong Content-Length may only refuse a body.
        size = reply.content_length or 0
        if size <= max_received:
            async for chunk in reply.content.iter_chunked(CHUNK_BYTES):
                counter.received(0 if coding else len(chunk))
                chunks.append(chunk)
                if (size := sum(map(len, chunks))) > max_received:
                    break
        body = b"".join(chunks)
        if coding and size <= max_received:
            body = decode(body, coding, max_bytes=max_bytes)
            size = len(body)
            counter.received(size)
        if size > max_bytes:
            raise SourceContractError(
                f"body is larger than {max_bytes} bytes: raise FLAG_MAX_BODY_BYTES to accept it", code=code, url=url
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


def _conditions(known: Validators) -> dict[str, str]:
    conditions = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in conditions.items() if value}


def _validator(reply: aiohttp.ClientResponse, name: str) -> str:
    """Return a header that can be stored, or an empty string."""
    value = reply.headers.get(name, "")
    return value if value.isascii() and value.isprintable() and len(value) <= MAX_VALIDATOR_CHARS else ""


def _stays_open(reply: aiohttp.ClientResponse) -> bool:
    """Whether the server keeps the connection open (RFC 9112, section 9.3)."""
    option = reply.headers.get("Connection", "").lower()
    return option == "keep-alive" or (reply.version == aiohttp.HttpVersion11 and option != "close")
