"""A real HTTP server for tests: the packaged flags on 127.0.0.1, with answers that a test scripts by path."""

import asyncio
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from aiohttp import web

from flag_pipeline.core.mirror import HOST, Mirror, PackagedFlags

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Answer:
    """An answer with a status, a body and headers (`Retry_After="7"` is sent as `Retry-After: 7`)."""

    async def respond(_request: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    return respond


class Ending(Enum):
    """What a raw answer does with the connection after its last byte."""

    CLOSE = "closes it"
    RESET = "resets it"
    STALL = "says nothing more"


def raw(*pieces: bytes, every_s: float = 0.0, then: Ending = Ending.CLOSE) -> Answer:
    """An answer byte by byte, whatever HTTP thinks of it: *pieces*, so many seconds apart, and an ending."""

    async def respond(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        for piece in pieces:
            transport.write(piece)
            await asyncio.sleep(every_s)
        match then:
            case Ending.CLOSE:
                transport.close()
            case Ending.RESET:
                transport.abort()
            case Ending.STALL:
                await asyncio.Event().wait()
        # Nothing of this is sent any more.
        return web.Response()

    return respond


def head(status: str = "200 OK", **headers: str) -> bytes:
    """The start of a raw answer, up to the empty line."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


async def hang(request: web.Request) -> web.StreamResponse:
    """Answer nothing until the client has closed the connection."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - it has no event for this
        await asyncio.sleep(0.05)
    return web.Response()


@dataclass(slots=True)
class FlagServer:
    """The server as a test sees it.

    Attributes:
        url: its base URL, a source for flag_pipeline.
        requests: paths in the order in which they were asked for.
        headers: of each request.
        arrivals: when each request came, in seconds of a clock that never goes back.
        statuses: how often it answered with each, raw answers left out.
        body_bytes: how many bytes of bodies it sent, raw answers left out.
        under_way: how many requests wait for their answer.
        most_under_way: how many ever did at once.
    """

    url: str = ""
    requests: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    body_bytes: int = 0
    under_way: int = 0
    most_under_way: int = 0
    _scripts: dict[str, list[Answer]] = field(default_factory=dict)
    _quorum: int = 0
    _assembled: asyncio.Event = field(default_factory=asyncio.Event)
    _mirror: Mirror = field(default_factory=lambda: Mirror(PackagedFlags()))

    def script(self, path: str, answers: Sequence[Answer]) -> None:
        """Answer requests for *path* with *answers* in turn, the last one for ever; none means as usual again."""
        self._scripts[path] = list(answers)

    def break_country(self, code: str, *answers: Answer) -> None:
        """Script both files of a country."""
        for path in (flag_url_path(code), metadata_url_path(code)):
            self.script(path, answers)

    def hold_until(self, n_under_way: int) -> None:
        """Answer nothing until so many requests have come together; then everything, as it comes."""
        self._quorum, self._assembled = n_under_way, asyncio.Event()

    def codes_asked_for(self) -> Counter[str]:
        """How many requests came for each country."""
        return Counter(path.split("/")[1].upper() for path in self.requests)

    def application(self) -> web.Application:
        """The mirror behind the script."""

        @web.middleware
        async def scripted(request: web.Request, handler: Answer) -> web.StreamResponse:
            self.requests.append(request.path)
            self.headers.append(request.headers)
            self.arrivals.append(time.monotonic())
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            try:
                if self.under_way >= self._quorum:
                    self._assembled.set()
                await self._assembled.wait()
                answers = self._scripts.get(request.path)
                if not answers:
                    return await handler(request)
                return await (answers.pop(0) if len(answers) > 1 else answers[0])(request)
            finally:
                self.under_way -= 1

        async def count(_request: web.BaseRequest, response: web.StreamResponse) -> None:
            self.statuses[response.status] += 1
            self.body_bytes += response.content_length or 0

        application = self._mirror.application()
        application.middlewares.append(scripted)
        application.on_response_prepare.append(count)
        return application


def flag_url_path(code: str) -> str:
    """The path of a country's flag."""
    return f"/{code.lower()}/{code.lower()}.gif"


def metadata_url_path(code: str) -> str:
    """The path of a country's metadata."""
    return f"/{code.lower()}/metadata.json"


@contextmanager
def running_flag_server(*, tls: ssl.SSLContext | None = None) -> Iterator[FlagServer]:
    """Serve on a free port, on a loop and thread of its own, so that synchronous tests and other processes can ask."""
    server = FlagServer()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
        server.url = f"{'https' if tls else 'http'}://{HOST}:{runner.addresses[0][1]}"

    async def finish() -> None:
        await runner.cleanup()
        # Answers that say nothing for ever are still at it.
        stalled = asyncio.all_tasks() - {asyncio.current_task()}
        for task in stalled:
            task.cancel()
        await asyncio.gather(*stalled, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, name="flag-server")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield server
        asyncio.run_coroutine_threadsafe(finish(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
