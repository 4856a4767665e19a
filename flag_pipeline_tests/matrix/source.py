"""A source that knows what is right: which flag and name it has for each country, and which answers are wrong."""

import asyncio
import hashlib
import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from functools import cache

from aiohttp import web
from PIL import Image

from flag_pipeline_tests.flag_server import Answer, hang
from flag_pipeline_tests.matrix.axes import Answers, Layout
from flag_pipeline_tests.samples import gif

HOST = "127.0.0.1"
NEW = datetime(2026, 3, 1, tzinfo=UTC)
# An answer too many is sent when the next request has come, so that the client has read the answer before; if none
# comes, so long after that answer. The next answer is late enough for the client to take the one too many for it.
SURPLUS_S, SHIFTED_S = 0.05, 0.03


@cache
def png(code: str) -> bytes:
    """The packaged flag of a country as a PNG."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(gif(code))) as image:
        image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(slots=True)
class Source:
    """The server as a case sees it.

    Attributes:
        names: the countries that it has, with their names.
        answers: what is wrong with the answers, all good at first.
        bad: the country whose answers are wrong, where it is one country's.
        failing: countries whose flag is answered with 500.
        held: a country whose flag is not answered until the client gives up.
        replaced: countries that have the flag of another.
        dates: when the flag of a country was modified, if it is not NEW.
        requests: the codes that were asked for, `*` for a document of all countries.
        is_held: set once the held country was asked for.
    """

    layout: Layout
    names: dict[str, str]
    url: str = ""
    answers: Answers = Answers.GOOD
    bad: str = ""
    failing: frozenset[str] = frozenset()
    held: str = ""
    replaced: dict[str, str] = field(default_factory=dict)
    dates: dict[str, datetime] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    is_held: threading.Event = field(default_factory=threading.Event)
    _late: set[str] = field(default_factory=set)
    _surplus: dict[asyncio.Transport, bytes] = field(default_factory=dict)

    @property
    def setting(self) -> str:
        """What FLAG_SOURCE or `--source` is for it."""
        return f"flagcdn@{self.url}" if self.layout is Layout.FLAGCDN else self.url

    def flag(self, code: str) -> bytes:
        """The flag that it has for the country."""
        picture = png if self.layout is Layout.FLAGCDN else gif
        return picture(self.replaced.get(code, code))

    def is_good(self) -> None:
        """Answer well from now on."""
        self.answers, self.failing, self.held = Answers.GOOD, frozenset(), ""

    def application(self) -> web.Application:
        """The server."""

        @web.middleware
        async def shifted(request: web.Request, handler: Answer) -> web.StreamResponse:
            if request.transport is not None and self._send_surplus(request.transport):
                await asyncio.sleep(SHIFTED_S)
            return await handler(request)

        application = web.Application(middlewares=[shifted])
        if self.layout is Layout.FLAGCDN:
            application.router.add_get("/en/codes.json", self._all_names)
            application.router.add_get(r"/w320/{cc:\w+}.png", self._flag)
        else:
            application.router.add_get(r"/{cc:\w+}/metadata.json", self._name)
            application.router.add_get(r"/{cc:\w+}/{file:\w+}.gif", self._flag)
        return application

    async def _all_names(self, request: web.Request) -> web.StreamResponse:
        self.requests["*"] += 1
        names = {code.lower(): name for code, name in self.names.items()}
        if self.answers is Answers.LOST:
            names = {code.upper(): name for code, name in names.items()}
        if self.answers is Answers.ABSENT:
            del names[self.bad.lower()]
        return self._validated(request, json.dumps(names).encode(), NEW)

    async def _name(self, request: web.Request) -> web.StreamResponse:
        code = self._asked_for(request)
        if self._lacks(code):
            raise web.HTTPNotFound
        document = {"country": self.names[code], "iso_cc": code}
        return self._validated(request, json.dumps(document).encode(), NEW)

    async def _flag(self, request: web.Request) -> web.StreamResponse:
        code = self._asked_for(request)
        if self._lacks(code):
            raise web.HTTPNotFound
        if code in self.failing:
            raise web.HTTPInternalServerError
        if code == self.held:
            self.is_held.set()
            return await hang(request)
        return await self._spoiled(request, code)

    def _asked_for(self, request: web.Request) -> str:
        code = request.match_info["cc"].upper()
        self.requests[code] += 1
        return code

    def _lacks(self, code: str) -> bool:
        is_absent = self.answers is Answers.ABSENT and code == self.bad
        is_lost = self.answers is Answers.LOST and self.layout is Layout.BOOK
        return is_absent or is_lost or code not in self.names

    async def _spoiled(self, request: web.Request, code: str) -> web.StreamResponse:
        """Answer for the flag, wrong in the way of `answers` if it is the bad country's."""
        good = self._validated(request, self.flag(code), self.dates.get(code, NEW))
        if code != self.bad:
            return good
        match self.answers:
            case Answers.FAILING:
                raise web.HTTPServiceUnavailable
            case Answers.WRONG:
                return web.Response(body=b"<html>not a picture</html>", content_type="image/gif")
            case Answers.LATE if code not in self._late:
                self._late.add(code)
                return await hang(request)
            case Answers.SURPLUS if request.transport is not None:
                self._surplus[request.transport] = self.flag(code)
                asyncio.get_running_loop().call_later(SURPLUS_S, self._send_surplus, request.transport)
        return good

    def _send_surplus(self, transport: asyncio.Transport) -> bool:
        """Send the answer too many, and say whether there was one."""
        body = self._surplus.pop(transport, None)
        if body is None or transport.is_closing():
            return False
        head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "surplus"\r\n\r\n'
        transport.write(head.encode() + body)
        return True

    def _validated(self, request: web.Request, body: bytes, modified_at: datetime) -> web.Response:
        """Answer with the body, or with 304: by date where the server knows nothing else, else by ETag."""
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if self.answers is Answers.DATES or self.dates:
            since = request.headers.get("If-Modified-Since")
            is_known = since is not None and parsedate_to_datetime(since) >= modified_at
            headers = {"Last-Modified": format_datetime(modified_at, usegmt=True)}
        else:
            is_known = request.headers.get("If-None-Match") == etag
            headers = {"ETag": etag}
        return web.Response(status=304, headers=headers) if is_known else web.Response(body=body, headers=headers)


def date_before(moment: datetime) -> datetime:
    """A day before."""
    return moment - timedelta(days=1)


@contextmanager
def running(source: Source) -> Iterator[Source]:
    """Serve on a free port, on a loop and thread of its own."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(source.application(), access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        source.url = f"http://{HOST}:{runner.addresses[0][1]}"

    async def finish() -> None:
        await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, name="matrix-source")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result()
        yield source
        asyncio.run_coroutine_threadsafe(finish(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
