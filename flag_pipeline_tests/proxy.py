"""A real HTTP proxy for tests: it takes every name for one server, and notes what it is asked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Proxy:
    """The proxy as a test sees it.

    Attributes:
        upstream_port: where every request goes, on loopback, whatever name it asks for.
        refusal: the status line with which CONNECT is answered instead of a tunnel.
        address: its own, `host:port`.
        heads: the first request on each connection, and what else was sent in the clear.
    """

    upstream_port: int
    refusal: str = ""
    address: str = ""
    heads: list[str] = field(default_factory=list)
    _connections: list[asyncio.Task[None] | None] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect the client with the server, until one of them or the test ends it."""
        self._connections.append(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head.decode("latin-1"))
            is_tunnel = head.startswith(b"CONNECT ")
            if is_tunnel and self.refusal:
                writer.write(f"HTTP/1.1 {self.refusal}\r\nContent-Length: 0\r\n\r\n".encode())
                return
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
            if is_tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                up_writer.write(head)
            with contextlib.closing(up_writer):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pipe(reader, up_writer, is_noted=not is_tunnel))
                    group.create_task(self._pipe(up_reader, writer, is_noted=False))

    async def close(self) -> None:
        """Close every connection."""
        for connection in filter(None, self._connections):
            connection.cancel()
        await asyncio.gather(*filter(None, self._connections), return_exceptions=True)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_noted: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65_536):
                if is_noted:
                    self.heads.append(chunk.decode("latin-1"))
                writer.write(chunk)
                await writer.drain()
            writer.close()


@contextlib.asynccontextmanager
async def running_proxy(upstream_port: int, *, refusal: str = "") -> AsyncIterator[Proxy]:
    """Serve on a free port of the running loop."""
    proxy = Proxy(upstream_port, refusal)
    server = await asyncio.start_server(proxy.answer, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
