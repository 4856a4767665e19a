"""A real server that sends one response more than it was asked for, after the flag of some countries."""

import asyncio
import json
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flag_pipeline.core.countries import iso_country
from flag_pipeline.core.mirror import HOST
from flag_pipeline_tests.samples import gif


@dataclass(slots=True, kw_only=True)
class SurplusServer:
    """The server as a test sees it.

    Attributes:
        bad: countries whose flag is followed by an unrequested response.
        surplus: that response as it is sent; None means the flag's own once more.
        surplus_s: how long after the flag it comes; None means in the same piece.
        answer_s: how long each answer takes.
        is_chunked: whether bodies are chunked, else they have a Content-Length.
        is_held_back: whether it comes when the next request has come, whatever *surplus_s* says.
        closes_after_surplus: whether the server closes the connection after it.
        honours_close: whether the server closes a connection that the client asks to close.
        ignores_validators: whether it answers conditional requests in full.
        files: what is served in place of a file.
        first_answers: what a path is answered with once, before the right file.
        surplus_after: a path that is followed by an unrequested response, whatever its country.
        greeting: what is sent before any request.
        hint: what is sent before each answer.
        redirects: where a path leads to.
        requests: the paths in the order in which they were asked for.
        headers: the text of each request.
        n_connections: how many connections were opened.
    """

    bad: frozenset[str] = frozenset({"BR"})
    surplus: bytes | None = None
    surplus_s: float | None = 0.005
    answer_s: float = 0.0003
    is_chunked: bool = False
    is_held_back: bool = False
    closes_after_surplus: bool = False
    honours_close: bool = True
    ignores_validators: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    first_answers: dict[str, bytes] = field(default_factory=dict)
    surplus_after: str = ""
    greeting: bytes = b""
    hint: bytes = b""
    redirects: dict[str, str] = field(default_factory=dict)
    url: str = ""
    requests: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    n_connections: int = 0

    def file(self, path: str) -> bytes:
        """What is right for *path*."""
        if path in self.files:
            return self.files[path]
        if path.endswith(".gif"):
            return gif(path.rsplit("/", maxsplit=1)[-1].removesuffix(".gif").upper())
        code = path.split("/")[1].upper()
        return json.dumps({"country": iso_country(code).name, "iso_cc": code}).encode()

    def asked_for(self) -> Counter[str]:
        """How many requests came for each country."""
        return Counter(path.split("/")[1].upper() for path in self.requests)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection in turn."""
        self.n_connections += 1
        writer.write(self.greeting)
        held_back = b""
        try:
            while not writer.is_closing():
                request = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = request.split(" ", 2)[1]
                self.requests.append(path)
                self.headers.append(request)
                self._send_surplus(writer, held_back)
                held_back = b""
                await asyncio.sleep(self.answer_s)
                held_back = self._answer(writer, path, request)
                if self.honours_close and "Connection: close" in request:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client has closed it, or the test is over.
        finally:
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, path: str, request: str) -> bytes:
        """Answer, and return the surplus response if it is held back."""
        answer = self.hint + self._response(path, request)
        is_bad_flag = path.endswith(".gif") and path.split("/")[1].upper() in self.bad
        if not (is_bad_flag or path == self.surplus_after):
            writer.write(answer)
            return b""
        surplus = answer if self.surplus is None else self.surplus
        if self.surplus_s is None:
            writer.write(answer + surplus)
            return b""
        writer.write(answer)
        if self.is_held_back:
            return surplus
        asyncio.get_running_loop().call_later(self.surplus_s, self._send_surplus, writer, surplus)
        return b""

    def _send_surplus(self, writer: asyncio.StreamWriter, surplus: bytes) -> None:
        if surplus and not writer.is_closing():
            writer.write(surplus)
            if self.closes_after_surplus:
                writer.close()

    def _response(self, path: str, request: str) -> bytes:
        if path in self.redirects:
            return f"HTTP/1.1 302 Found\r\nLocation: {self.redirects[path]}\r\nContent-Length: 0\r\n\r\n".encode()
        body = self.first_answers.pop(path, None) or self.file(path)
        etag = f'"{zlib.crc32(body)}"'
        if etag in request and not self.ignores_validators:
            return f"HTTP/1.1 304 Not Modified\r\nETag: {etag}\r\n\r\n".encode()
        return response(body, is_chunked=self.is_chunked, etag=etag)


def response(body: bytes, *, is_chunked: bool = False, etag: str = '"surplus"') -> bytes:
    """A whole answer."""
    if is_chunked:
        head, framed = "Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        head, framed = f"Content-Length: {len(body)}", body
    return f"HTTP/1.1 200 OK\r\n{head}\r\nETag: {etag}\r\n\r\n".encode() + framed


@contextmanager
def running_surplus_server(server: SurplusServer) -> Iterator[SurplusServer]:
    """Serve on a free port, on a loop and thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="surplus-server")

    async def start() -> asyncio.Server:
        listening = await asyncio.start_server(server.serve, HOST, 0, backlog=512)
        server.url = f"http://{HOST}:{listening.sockets[0].getsockname()[1]}"
        return listening

    async def finish(listening: asyncio.Server) -> None:
        listening.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    thread.start()
    try:
        listening = asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield server
        asyncio.run_coroutine_threadsafe(finish(listening), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
