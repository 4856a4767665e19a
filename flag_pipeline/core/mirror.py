"""The embedded source: an HTTP server on 127.0.0.1 that serves packaged flags.

Delays and errors can be set, repeatable with a seed.
"""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import aiofiles
from aiohttp import web

from flag_pipeline.core.countries import iso_codes, iso_document
from flag_pipeline.errors import ConfigurationError

HOST = "127.0.0.1"
# Drawn by hatch_build.py when the package is built or installed.
DRAWN_FLAGS = Path(__file__).with_name("embedded")
_CONTENT_TYPES = {"gif": "image/gif", "svg": "image/svg+xml"}


class FlagProvider(Protocol):
    """Provides the mirror's files by lower-case code, None if there is none."""

    async def flag(self, cc: str, extension: str = "gif") -> bytes | None:
        """The country's GIF or SVG."""

    async def metadata(self, cc: str) -> bytes | None:
        """The country's metadata document."""


class PackagedFlags:
    """The drawn flags, with ISO 3166-1 names; the constructor reads a folder.

    Raises ConfigurationError if it has none.
    """

    def __init__(self) -> None:
        self._files = packaged_flags()
        iso_codes()

    async def flag(self, cc: str, extension: str = "gif") -> bytes | None:
        """The drawn GIF or SVG."""
        return await _read(self._files[cc].with_suffix(f".{extension}")) if cc in self._files else None

    async def metadata(self, cc: str) -> bytes | None:
        """The document, made from ISO 3166-1."""
        return iso_document(cc.upper()) if cc in self._files else None


def packaged_flags() -> dict[str, Path]:
    """Return the drawn GIFs' paths by lower-case code.

    Raises ConfigurationError if there are none.
    """
    flags = {path.stem: path for path in DRAWN_FLAGS.glob("*.gif")}
    if not flags:
        raise ConfigurationError(
            f"the embedded source has no flags in {DRAWN_FLAGS}; draw them: "
            "uv sync --inexact --reinstall-package flag-pipeline"
        )
    return flags


@dataclass(frozen=True, slots=True)
class FolderOfFlags:
    """A folder with files such as `cn/cn.gif` and `cn/metadata.json`."""

    root: Path

    async def flag(self, cc: str, extension: str = "gif") -> bytes | None:
        """The country's GIF or SVG."""
        return await _read(self.root / cc / f"{cc}.{extension}")

    async def metadata(self, cc: str) -> bytes | None:
        """The country's document."""
        return await _read(self.root / cc / "metadata.json")


async def _read(path: Path) -> bytes | None:
    try:
        async with aiofiles.open(path, "rb") as file:
            return await file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


@dataclass(slots=True)
class Mirror:
    """Serves the flags of a provider.

    Attributes:
        error_rate: share of requests, 0 to 1, answered with 503.
    """

    provider: FlagProvider
    delay_s: float = 0.0
    error_rate: float = 0.0
    seed: int | None = None
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - practice errors, not secrets

    def application(self) -> web.Application:
        """Return the aiohttp application."""
        application = web.Application()
        # No separators, because the text becomes part of a path.
        application.router.add_get(r"/{cc:[a-z0-9]{2,8}}/metadata.json", self._metadata)
        application.router.add_get(r"/{cc:[a-z0-9]{2,8}}/{file:[a-z0-9]{2,8}}.{extension:gif|svg}", self._flag)
        return application

    async def _flag(self, request: web.Request) -> web.StreamResponse:
        cc, extension = request.match_info["cc"], request.match_info["extension"]
        content = await self.provider.flag(cc, extension) if request.match_info["file"] == cc else None
        return await self._answer(request, content, _CONTENT_TYPES[extension])

    async def _metadata(self, request: web.Request) -> web.StreamResponse:
        content = await self.provider.metadata(request.match_info["cc"])
        return await self._answer(request, content, "application/json")

    async def _answer(self, request: web.Request, content: bytes | None, content_type: str) -> web.StreamResponse:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self._random.random() < self.error_rate:
            raise web.HTTPServiceUnavailable(text="practice error")
        if content is None:
            raise web.HTTPNotFound
        etag = hashlib.sha256(content).hexdigest()[:32]
        if any(condition.value in {etag, "*"} for condition in request.if_none_match or ()):
            response = web.Response(status=304)
        else:
            response = web.Response(body=content, content_type=content_type)
        response.etag = etag
        return response


@asynccontextmanager
async def serving(mirror: Mirror, *, port: int = 0) -> AsyncIterator[str]:
    """Serve *mirror* inside the block; yield its base URL. Port 0 is any free port.

    Raises ConfigurationError if the port is in use.
    """
    runner = web.AppRunner(mirror.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, HOST, port)
        try:
            await site.start()
        except OSError as exc:
            raise ConfigurationError(f"cannot listen on {HOST}:{port}: {exc.strerror}") from exc
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
