"""Connection reuse: none after statuses 408 and 421, or in retries of failed connections."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus

import aiohttp
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

# 408 concerns idle connections, 421 this one (RFC 9110, sections 15.5.9 and 15.5.20).
_CLOSING_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.MISDIRECTED_REQUEST})
_is_fresh_wanted: ContextVar[bool] = ContextVar("is_fresh_wanted", default=False)


@contextmanager
def fresh_connection(*, is_wanted: bool) -> Iterator[None]:
    """Open new connections inside the block."""
    token = _is_fresh_wanted.set(is_wanted)
    try:
        yield
    finally:
        _is_fresh_wanted.reset(token)


class FreshConnector(aiohttp.TCPConnector):
    """Takes no connection from the pool inside `fresh_connection`."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        return None if _is_fresh_wanted.get() else await super()._get(key, traces)


class ClosingResponse(aiohttp.ClientResponse):
    """Closes the connection after 408 and 421."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the status and the headers."""
        protocol = connection.protocol
        await super().start(connection)
        # The pool may have it already, but drops closed ones.
        if self.status in _CLOSING_STATUSES and protocol is not None:
            protocol.close()
        return self
