"""Connection reuse: none after statuses 408 and 421."""

from http import HTTPStatus

import aiohttp
from aiohttp.connector import Connection

# 408 concerns idle connections, 421 this one (RFC 9110, sections 15.5.9 and 15.5.20).
_CLOSING_STATUSES = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.MISDIRECTED_REQUEST})


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
