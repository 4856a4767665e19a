"""Response desync: detects answers that may belong to another request on the same connection.

HTTP/1.1 matches responses to requests by order, so an unrequested response shifts all later ones. It can be detected
only while no request is pending. Then all answers on the connection are in doubt.
"""

import asyncio
import logging
import re
import statistics
from collections import deque
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader
from aiohttp.tracing import Trace

from flag_pipeline.errors import SourceError
from flag_pipeline.fetching.encoding import EncodingError

logger = logging.getLogger(__name__)

MIN_WATCH_S = 0.05  # added to the time that answers take
MAX_WATCH_S = 2.0
POLL_S = 0.001
SWITCHING_PROTOCOLS, OK = 101, 200
UNREQUESTED = "the source sent bytes that no request asked for"
# They may come from another answer.
_CHECKED_ERRORS = (aiohttp.ClientError, EncodingError, SourceError)
# Proxies may send it on idle connections (RFC 9110, section 15.5.9).
_IDLE_TOO_LONG = re.compile(rb"HTTP/1\.[01] 408\b")


class DoubtfulAnswerError(aiohttp.ClientConnectionError):
    """The answer may belong to another request; a retry on a new connection helps."""


class UntrustworthyAnswerError(aiohttp.ClientError):
    """Unrequested bytes arrived on a connection with one request; no retry helps."""


class Exchange:
    """One request and its answer. Its block raises DoubtfulAnswerError or UntrustworthyAnswerError at the end.

    Attributes:
        codes: countries that use the answer; others may be added.
        opens_connection: takes none from the pool.
        sole_connection: a connection without other requests.
    """

    def __init__(self, codes: set[str] | None = None, *, opens_connection: bool = False) -> None:
        self.codes = set() if codes is None else codes
        self.opens_connection = opens_connection
        self.sole_connection: CheckedProtocol | None = None
        self.is_doubtful = False

    async def __aenter__(self) -> Self:
        self._token = _exchange.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, _CHECKED_ERRORS):
                await self._end(error)
        finally:
            _exchange.reset(self._token)
            if self.sole_connection is not None:
                self.sole_connection.close()

    async def _end(self, cause: BaseException | None) -> None:
        if self.sole_connection is not None:
            await self.sole_connection.wait_for_close()
        if self.is_doubtful and not isinstance(cause, DoubtfulAnswerError | UntrustworthyAnswerError):
            raise (UntrustworthyAnswerError if self.sole_connection is not None else DoubtfulAnswerError)(
                UNREQUESTED
            ) from cause


_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class CheckedProtocol(ResponseHandler):
    """Detects unrequested bytes on a connection; `asked_at` is the loop time of its latest request."""

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
        """Record the next request."""
        self._exchanges.append(exchange)

    def set_response_params(self, **how: Any) -> None:
        """Expect an answer; CONNECT has one too."""
        self._n_answers, self._answer, self.asked_at = 0, None, self._loop.time()
        super().set_response_params(**how)

    @property
    def _is_answered(self) -> bool:
        return self._answer is not None and self._answer.is_eof()

    @property
    def _awaits_bytes(self) -> bool:
        return self._parser is not None and not self._is_answered

    @property
    def is_watched_until_closed(self) -> bool:
        """Whether it stays open after the only answer."""
        return self._is_answered and len(self._exchanges) == 1 and self._exchanges[0].sole_connection is self

    async def wait_for_close(self) -> None:
        """Wait until the server closes the connection or the watch ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self.asked_at + self._connector.watch_s):
                await self._lost.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the connection."""
        super().connection_made(transport)
        self._connector.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Doubt the answer if the server closes a reused connection after it."""
        self._connector.connections.discard(self)
        self._lost.set()
        is_closed_by_server = self.transport is not None and not self.should_close and not self._awaits_bytes
        if is_closed_by_server and self._is_reused and self._loop.time() < self._answered_at + MIN_WATCH_S:
            self._connector.doubt_once(self._exchanges[-1])
        super().connection_lost(exc)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Receive a response."""
        message, payload = data
        if message.code >= OK or message.code == SWITCHING_PROTOCOLS:
            self._n_answers += 1
            self._answer = payload if self._answer is None else self._answer
            self._answered_at = self._loop.time()
            self._connector.record_answer(self._answered_at - self.asked_at, is_first=not self._is_reused)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Pass requested bytes to the parser."""
        if data and not self._awaits_bytes:
            self._unrequested(data)
            return
        super().data_received(data)
        # The parser may reject bytes after the answer.
        if self._n_answers > 1 or (self._is_answered and self.exception() is not None):
            self._doubt()
        elif self._n_answers == 0 and self.exception() is not None and self._is_reused:
            # The previous answer may exceed its Content-Length.
            self._connector.doubt_once(self._exchanges[-1])

    def _unrequested(self, data: bytes) -> None:
        if _IDLE_TOO_LONG.match(data):
            self.close()
        # Empty lines between messages are harmless (RFC 9112, section 2.2).
        elif data.strip(b"\r\n"):
            self._doubt()

    @property
    def _is_reused(self) -> bool:
        return len(self._exchanges) > 1

    def _doubt(self) -> None:
        exchanges, self._exchanges = self._exchanges, []
        for number, exchange in enumerate(exchanges):
            # The first answer is nearly always right.
            exchange.is_doubtful = number > 0 or exchange.sole_connection is not None
        self._connector.doubt(exchanges)
        self.force_close()
        if self.transport is not None:
            self.transport.close()


class CheckedConnector(aiohttp.TCPConnector):
    """Reuses connections until unrequested bytes arrive on one."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self._factory = lambda: CheckedProtocol(self, self._loop)  # type: ignore[assignment]
        self._doubtful: list[set[str]] = []
        self._first_answers_s: deque[float] = deque(maxlen=64)
        self._latest_answers_s: deque[float] = deque(maxlen=16)
        self._keeps_connections = True
        self._has_cleared_doubts = False
        self.connections: set[CheckedProtocol] = set()

    @property
    def force_close(self) -> bool:
        """Whether requests ask for `Connection: close`."""
        return not self._keeps_connections

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        # Idle connections stay open, to detect late bytes.
        exchange = _exchange.get()
        opens = not self._keeps_connections or (exchange is not None and exchange.opens_connection)
        return None if opens else await super()._get(key, traces)

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:  # noqa: ASYNC109 - aiohttp's signature
        """Return a connection for the request."""
        connection = await super().connect(req, traces, timeout)
        protocol, exchange = connection.protocol, _exchange.get() or Exchange()
        if not isinstance(protocol, CheckedProtocol):  # pragma: no cover - for the type checker
            raise TypeError(f"{protocol!r} is not checked")
        if exchange.sole_connection is not None:
            exchange.sole_connection.close()  # after a redirect
        exchange.sole_connection = None if self._keeps_connections else protocol
        protocol.begin(exchange)
        return connection

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if isinstance(protocol, CheckedProtocol) and protocol.is_watched_until_closed and not self.closed:
            self._release_acquired(key, protocol)
        else:
            super()._release(key, protocol, should_close=should_close)

    @property
    def watch_s(self) -> float:
        """Seconds to watch a connection."""
        answer_s = max(statistics.median(self._first_answers_s or [0.0]), max(self._latest_answers_s, default=0.0))
        return min(answer_s + MIN_WATCH_S, MAX_WATCH_S)

    def record_answer(self, answer_s: float, *, is_first: bool) -> None:
        """Record an answer's duration."""
        self._latest_answers_s.append(answer_s)
        if is_first:
            self._first_answers_s.append(answer_s)

    def doubt(self, exchanges: list[Exchange]) -> None:
        """Doubt these answers, and stop reusing connections."""
        # Not copied, because countries are added later.
        self._doubtful += [exchange.codes for exchange in exchanges if exchange.sole_connection is None]
        if self._keeps_connections:
            logger.warning(
                "%s, so its answers may belong to other requests: from now on each request opens its own connection,"
                " and countries whose answers are in doubt are fetched again",
                UNREQUESTED,
            )
        self._keeps_connections = False

    def doubt_once(self, exchange: Exchange) -> None:
        """Doubt an answer, unless doubts were cleared before."""
        if not self._has_cleared_doubts:
            self._doubtful.append(exchange.codes)

    async def wait_for_late_answers(self) -> None:
        """Wait until no connection expects a late answer."""
        # At least once, because bytes may be unread.
        wait_s = POLL_S
        while wait_s > 0:
            await asyncio.sleep(wait_s)
            wait_s = self._left_s()

    def doubtful_codes(self) -> set[str]:
        """Return the countries with doubtful answers."""
        return set().union(*self._doubtful)

    def clear_doubts(self, codes: set[str]) -> None:
        """Forget the doubts about *codes*."""
        self._has_cleared_doubts |= bool(codes)
        self._doubtful = [rest for answered in self._doubtful if (rest := answered - codes)]

    def _left_s(self) -> float:
        latest = max((connection.asked_at for connection in self.connections), default=0.0)
        return latest + self.watch_s - self._loop.time() if latest else 0.0
