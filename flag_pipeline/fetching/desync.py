"""Kept-alive connections whose answers may belong to other requests, because the server sent bytes without a request.

HTTP/1.1 has no request id: the first answer on a connection belongs to its first request, the second to its second.
A response that no request asked for shifts all later answers on its connection by one ("response desync"). It can be
seen only when the connection has no request left to which it could belong. Then every answer on it is in doubt.
"""

import asyncio
import logging
import re
import statistics
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader
from aiohttp.tracing import Trace

from flag_pipeline.errors import SourceError
from flag_pipeline.fetching.connection_reuse import FreshConnector
from flag_pipeline.fetching.encoding import EncodingError

logger = logging.getLogger(__name__)

# After a request, its connection is watched for as long as answers take, and this much longer.
MIN_WATCH_S = 0.05
MAX_WATCH_S = 2.0
POLL_S = 0.001
SWITCHING_PROTOCOLS, OK = 101, 200
UNREQUESTED = "the source sent bytes that no request asked for"
# Some proxies say so before they close an idle connection (RFC 9110, section 15.5.9): no request reached them.
_IDLE_TOO_LONG = re.compile(rb"HTTP/1\.[01] 408\b")


class DoubtfulAnswerError(aiohttp.ClientConnectionError):
    """The answer may belong to another request; a request on a new connection gets its own."""


class UntrustworthyAnswerError(aiohttp.ClientError):
    """Unrequested bytes came although the connection carried one request only: each response may be the right one."""


@dataclass(eq=False, slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        codes: the countries that rely on the answer; the caller may add others later.
        alone_on: the connection, if it carries no other request.
        is_doubtful: the answer may belong to another request, and must not be used.
    """

    codes: set[str] = field(default_factory=set)
    alone_on: "CheckedProtocol | None" = None
    is_doubtful: bool = False

    async def end(self, cause: Exception | None = None) -> None:
        """Raise an error if the answer, or the error *cause* that it led to, is in doubt."""
        if self.alone_on is not None:
            await self.alone_on.watch_to_the_end()
        if self.is_doubtful and not isinstance(cause, DoubtfulAnswerError | UntrustworthyAnswerError):
            raise (UntrustworthyAnswerError if self.alone_on is not None else DoubtfulAnswerError)(
                UNREQUESTED
            ) from cause


_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@asynccontextmanager
async def exchanging(codes: set[str]) -> AsyncIterator[None]:
    """Note that *codes* rely on the answer to the request that is sent inside the block.

    If the answer is in doubt already at the end of the block, an error takes the place of whatever it says:
    DoubtfulAnswerError, or UntrustworthyAnswerError where a new connection would not help.
    """
    exchange = Exchange(codes)
    token = _exchange.set(exchange)
    try:
        yield
        await exchange.end()
    except (aiohttp.ClientError, EncodingError, SourceError) as exc:
        await exchange.end(exc)
        raise
    finally:
        _exchange.reset(token)
        if exchange.alone_on is not None:
            exchange.alone_on.close()


class CheckedProtocol(ResponseHandler):
    """One connection: knows which requests it carried, and notices bytes that none of them asked for.

    Attributes:
        asked_at: when the latest request was sent, in the loop's time.
    """

    def __init__(self, connector: "CheckedConnector", loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._connector = connector
        self._exchanges: list[Exchange] = []
        self._n_answers = 0
        self._answer: StreamReader | None = None
        self._answered_at = 0.0
        self._lost = asyncio.Event()
        self.asked_at = 0.0

    def begin(self, exchange: Exchange) -> None:
        """Note which request the connection is for now."""
        self._exchanges.append(exchange)

    def set_response_params(self, **how: Any) -> None:
        """Note that the next bytes are the answer to a request; aiohttp calls it for each, CONNECT included."""
        self._n_answers, self._answer, self.asked_at = 0, None, self._loop.time()
        super().set_response_params(**how)

    @property
    def _is_answered(self) -> bool:
        return self._answer is not None and self._answer.is_eof()

    @property
    def _awaits_bytes(self) -> bool:
        return self._parser is not None and not self._is_answered

    @property
    def is_watched_to_the_end(self) -> bool:
        """Whether the connection stays open after its only answer, until the server closes it."""
        return self._is_answered and [exchange.alone_on for exchange in self._exchanges] == [self]

    async def watch_to_the_end(self) -> None:
        """Wait until the server closes the connection, at most until a late answer would have come."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self.asked_at + self._connector.watch_s):
                await self._lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the connection watched at the end of the run."""
        super().connection_made(transport)
        self._connector.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Doubt the last answer if the server closed a reused connection right after it, without announcing that.

        It may be a response that no request asked for, after which the right one does not come any more.
        """
        self._connector.connections.discard(self)
        self._lost.set()
        is_closed_by_server = self.transport is not None and not self.should_close and not self._awaits_bytes
        if is_closed_by_server and self._is_reused and self._loop.time() < self._answered_at + MIN_WATCH_S:
            self._connector.doubt_once(self._exchanges[-1])
        super().connection_lost(exc)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take a response from the parser; informational ones (1xx) come before the answer."""
        message, payload = data
        if message.code >= OK or message.code == SWITCHING_PROTOCOLS:
            self._n_answers += 1
            self._answer = payload if self._answer is None else self._answer
            self._answered_at = self._loop.time()
            self._connector.note_answer(self._answered_at - self.asked_at, is_first=not self._is_reused)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Give the parser what was asked for; doubt the connection when there is more than that."""
        if data and not self._awaits_bytes:
            self._unrequested(data)
            return
        super().data_received(data)
        # The parser refuses what is no response; after the whole answer, that is unrequested too.
        if self._n_answers > 1 or (self._is_answered and self.exception() is not None):
            self._doubt()
        elif self._n_answers == 0 and self.exception() is not None and self._is_reused:
            # What is no HTTP may be the rest of the answer before it, if that was longer than it announced.
            self._connector.doubt_once(self._exchanges[-1])

    def _unrequested(self, data: bytes) -> None:
        if _IDLE_TOO_LONG.match(data):
            self.close()
        # An empty line between two messages is harmless (RFC 9112, section 2.2).
        elif data.strip(b"\r\n"):
            self._doubt()

    @property
    def _is_reused(self) -> bool:
        return len(self._exchanges) > 1

    def _doubt(self) -> None:
        exchanges, self._exchanges = self._exchanges, []
        for number, exchange in enumerate(exchanges):
            # The first answer on a connection is nearly always the right one: it is used until it is fetched again.
            exchange.is_doubtful = number > 0 or exchange.alone_on is not None
        self._connector.doubt(exchanges)
        self.force_close()
        if self.transport is not None:
            self.transport.close()


class CheckedConnector(FreshConnector):
    """Keeps connections for further requests until unrequested bytes come on one; then each request opens its own.

    Attributes:
        connections: those that are open.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._factory = lambda: CheckedProtocol(self, self._loop)  # type: ignore[assignment]
        self._doubtful: list[set[str]] = []
        # How long answers took: the first ones on their connections, which belong to their requests, and the latest.
        self._first_answers_s: deque[float] = deque(maxlen=64)
        self._latest_answers_s: deque[float] = deque(maxlen=16)
        self._keeps_connections = True
        self._has_cleared_doubts = False
        self.connections: set[CheckedProtocol] = set()

    @property
    def force_close(self) -> bool:
        """Whether aiohttp asks the server to close the connection after the answer."""
        return not self._keeps_connections

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        # The connections in the pool stay open, because late bytes on them may cast doubt on earlier answers.
        return await super()._get(key, traces) if self._keeps_connections else None

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:  # noqa: ASYNC109 - aiohttp's signature
        """Return a connection for the request of the block `exchanging`."""
        connection = await super().connect(req, traces, timeout)
        protocol, exchange = connection.protocol, _exchange.get() or Exchange()
        if not isinstance(protocol, CheckedProtocol):  # pragma: no cover - for the type checker
            raise TypeError(f"{protocol!r} is not checked")
        if exchange.alone_on is not None:
            # A redirect has led to another connection.
            exchange.alone_on.close()
        exchange.alone_on = None if self._keeps_connections else protocol
        protocol.begin(exchange)
        return connection

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if isinstance(protocol, CheckedProtocol) and protocol.is_watched_to_the_end and not self.closed:
            self._release_acquired(key, protocol)
        else:
            super()._release(key, protocol, should_close=should_close)

    @property
    def watch_s(self) -> float:
        """How long after a request its connection is watched for unrequested bytes."""
        answer_s = max(statistics.median(self._first_answers_s or [0.0]), max(self._latest_answers_s, default=0.0))
        return min(answer_s + MIN_WATCH_S, MAX_WATCH_S)

    def note_answer(self, answer_s: float, *, is_first: bool) -> None:
        """Note how long an answer took, and whether it was the first on its connection."""
        self._latest_answers_s.append(answer_s)
        if is_first:
            self._first_answers_s.append(answer_s)

    def doubt(self, exchanges: list[Exchange]) -> None:
        """Note that the answers of one connection are in doubt, and keep no connection from now on."""
        # The sets themselves: a country that relies on one of the answers later on is in doubt too.
        self._doubtful += [exchange.codes for exchange in exchanges if exchange.alone_on is None]
        if self._keeps_connections:
            logger.warning(
                "%s, so its answers may belong to other requests: from now on each request opens its own connection,"
                " and countries whose answers are in doubt are fetched again",
                UNREQUESTED,
            )
        self._keeps_connections = False

    def doubt_once(self, exchange: Exchange) -> None:
        """Note that one answer is in doubt, but not when it has been fetched again and is as before."""
        if not self._has_cleared_doubts:
            self._doubtful.append(exchange.codes)

    async def quiet(self) -> None:
        """Wait until the answer to the latest request on each open connection would have come, if it is still to come.

        Where an unrequested response was taken for the answer, the right one comes later and shows it.
        """
        # At least once, because bytes may have come that the loop has not read yet.
        wait_s = POLL_S
        while wait_s > 0:
            await asyncio.sleep(wait_s)
            wait_s = self._left_s()

    def doubtful_codes(self) -> set[str]:
        """Return the countries whose answers are in doubt."""
        return set().union(*self._doubtful)

    def clear_doubts(self, codes: set[str]) -> None:
        """Forget the doubts about *codes*, which are fetched again now."""
        self._has_cleared_doubts |= bool(codes)
        self._doubtful = [rest for answered in self._doubtful if (rest := answered - codes)]

    def _left_s(self) -> float:
        """How long the open connections still have to be watched."""
        latest = max((connection.asked_at for connection in self.connections), default=0.0)
        return latest + self.watch_s - self._loop.time() if latest else 0.0
