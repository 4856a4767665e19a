"""Kept-alive connections whose answers may belong to other requests, because the server sent bytes without a request.

HTTP/1.1 has no request id: the first answer on a connection belongs to its first request, the second to its second.
A response that no request asked for shifts all later answers on its connection by one ("response desync"). It can be
seen only when the connection has no request left to which it could belong. Then every answer on it is in doubt.
"""

import asyncio
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
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

logger = logging.getLogger(__name__)

# At the end of a run a connection is watched for twice the time of the slowest answer so far, and this much longer.
MIN_WATCH_S = 0.05
MAX_WATCH_S = 2.0
SWITCHING_PROTOCOLS, OK = 101, 200
UNREQUESTED = "the source sent bytes that no request asked for"
# Some proxies say so before they close an idle connection (RFC 9110, section 15.5.9): no request reached them.
_IDLE_TOO_LONG = re.compile(rb"HTTP/1\.[01] 408\b")


class DoubtfulAnswerError(aiohttp.ClientConnectionError):
    """The answer may belong to another request; a request on a new connection gets its own."""


@dataclass(eq=False, slots=True)
class Exchange:
    """One request and its answer.

    Attributes:
        codes: the countries that rely on the answer; the caller may add others later.
        is_alone: the connection carries no other request, so that the first answer on it is the right one.
        is_doubtful: the answer may belong to another request, and must not be used.
    """

    codes: set[str] = field(default_factory=set)
    is_alone: bool = False
    is_doubtful: bool = False


_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


@contextmanager
def exchanging(codes: set[str]) -> Iterator[None]:
    """Note that *codes* rely on the answer to the request that is sent inside the block.

    Raises DoubtfulAnswerError, whatever the answer says, if it is in doubt already at the end of the block.
    """
    exchange = Exchange(codes)
    token = _exchange.set(exchange)
    try:
        yield
    except (aiohttp.ClientError, SourceError) as exc:
        if exchange.is_doubtful:
            raise DoubtfulAnswerError(UNREQUESTED) from exc
        raise
    finally:
        _exchange.reset(token)
    if exchange.is_doubtful:
        raise DoubtfulAnswerError(UNREQUESTED)


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
        self.asked_at = 0.0

    def begin(self, exchange: Exchange) -> None:
        """Note that the next bytes answer this request."""
        self._exchanges.append(exchange)
        self._n_answers, self._answer, self.asked_at = 0, None, self._loop.time()

    @property
    def _awaits_bytes(self) -> bool:
        return bool(self._exchanges) and (self._answer is None or not self._answer.is_eof())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the connection watched at the end of the run."""
        super().connection_made(transport)
        self._connector.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Doubt the last answer if the server closed a reused connection right after it, without announcing that.

        It may be a response that no request asked for, after which the right one does not come any more.
        """
        self._connector.connections.discard(self)
        is_closed_by_server = self.transport is not None and not self.should_close and not self._awaits_bytes
        if is_closed_by_server and self._is_reused and self._loop.time() < self._answered_at + MIN_WATCH_S:
            self._connector.doubt_once(self._exchanges[-1])
        super().connection_lost(exc)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take a response from the parser; informational ones (1xx) come before the answer."""
        message, payload = data
        if message.code >= OK or message.code == SWITCHING_PROTOCOLS:
            self._n_answers += 1
            self._answer = self._answer or payload
            self._answered_at = self._loop.time()
            self._connector.note_answer(self._answered_at - self.asked_at)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Give the parser what was asked for; doubt the connection when there is more than that."""
        if data and not self._awaits_bytes:
            self._unrequested(data)
            return
        super().data_received(data)
        if self._n_answers > 1:
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
            exchange.is_doubtful = number > 0
        self._connector.doubt(exchanges)
        self.force_close()
        if self.transport is not None:
            self.transport.close()


class CheckedConnector(aiohttp.TCPConnector):
    """Keeps connections for further requests until unrequested bytes come on one; then each request opens its own.

    Attributes:
        connections: those that are open.
    """

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._factory = lambda: CheckedProtocol(self, self._loop)  # type: ignore[assignment]
        self._doubtful: list[set[str]] = []
        self._slowest_answer_s = 0.0
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
        exchange.is_alone = not self._keeps_connections
        if exchange.is_alone:
            protocol.force_close()
        protocol.begin(exchange)
        return connection

    def note_answer(self, answer_s: float) -> None:
        """Note how long an answer took."""
        self._slowest_answer_s = max(self._slowest_answer_s, answer_s)

    def doubt(self, exchanges: list[Exchange]) -> None:
        """Note that the answers of one connection are in doubt, and keep no connection from now on."""
        # The sets themselves: a country that relies on one of the answers later on is in doubt too.
        self._doubtful += [exchange.codes for exchange in exchanges if not exchange.is_alone]
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
        while (wait_s := self._watch_s()) > 0:  # noqa: ASYNC110 - silence is what it waits for
            await asyncio.sleep(wait_s)

    def doubtful_codes(self) -> set[str]:
        """Return the countries whose answers are in doubt."""
        return set().union(*self._doubtful)

    def clear_doubts(self, codes: set[str]) -> None:
        """Forget the doubts about *codes*, which are fetched again now."""
        self._has_cleared_doubts |= bool(codes)
        self._doubtful = [rest for answered in self._doubtful if (rest := answered - codes)]

    def _watch_s(self) -> float:
        """How long the open connections still have to be watched."""
        latest = max((connection.asked_at for connection in self.connections), default=0.0)
        watched_s = min(2 * self._slowest_answer_s + MIN_WATCH_S, MAX_WATCH_S)
        return latest + watched_s - self._loop.time() if latest else 0.0
