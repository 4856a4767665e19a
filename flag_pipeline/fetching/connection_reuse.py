"""When an HTTP connection is not used again: after an answer that asks for another one, and on request."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

# A proxy says 408 on an idle connection, so that it is taken for the answer to the next request. 421 says that the
# server does not serve this host on this connection (RFC 9110, sections 15.5.9 and 15.5.20).
_ASKING_FOR_ANOTHER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.MISDIRECTED_REQUEST})
_is_fresh_wanted: ContextVar[bool] = ContextVar("is_fresh_wanted", default=False)


@contextmanager
def fresh_connection(*, is_wanted: bool) -> Iterator[None]:
    """Open a new connection for each request inside the block, if *is_wanted*: those in the pool may be stale too."""
    token = _is_fresh_wanted.set(is_wanted)
    try:
        yield
    finally:
        _is_fresh_wanted.reset(token)


class FreshConnector(aiohttp.TCPConnector):
    """Takes no connection from its pool inside `fresh_connection`."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        return None if _is_fresh_wanted.get() else await super()._get(key, traces)


class ClosingResponse(aiohttp.ClientResponse):
    """Closes the connection of an answer that asks for another one, whatever the server says about keeping it."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the status and the headers."""
        protocol = connection.protocol
        await super().start(connection)
        # By now an answer without a body has given its connection back to the pool, which drops closed ones.
        if self.status in _ASKING_FOR_ANOTHER and protocol is not None:
            protocol.close()
        return self
