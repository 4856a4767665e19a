"""The source of flags as an open HTTP client, with the embedded mirror if used."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver

from flag_pipeline.core.config import SourceSettings
from flag_pipeline.core.presets import EMBEDDED, PRESETS, SourcePreset, find_preset
from flag_pipeline.fetching.client import SourceClient
from flag_pipeline.fetching.open_files import limit_requests
from flag_pipeline.fetching.retry import Sleep
from flag_pipeline.fetching.secret_headers import HEADERS_VARIABLE, read_headers
from flag_pipeline.fetching.session import open_session

logger = logging.getLogger(__name__)


class FlagSource(SourceClient):
    """The HTTP client of one source, with its preset."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        preset: SourcePreset,
        settings: SourceSettings,
        *,
        origin: str = "",
        max_requests: int | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(
            session,
            settings,
            name=preset.name,
            base_url=preset.base_url,
            origin=origin,
            max_requests=max_requests,
            sleep=sleep,
        )
        self.preset = preset
        self.settings = settings


@asynccontextmanager
async def open_source(settings: SourceSettings) -> AsyncIterator[FlagSource]:
    """Open the session, and the embedded mirror if it is the source."""
    async with AsyncExitStack() as stack:
        preset = find_preset(settings.source)
        origin = preset.base_url
        if preset is EMBEDDED:
            # Other sources do not need aiohttp's server.
            from flag_pipeline.core.mirror import Mirror, PackagedFlags, serving

            origin = await stack.enter_async_context(serving(Mirror(await asyncio.to_thread(PackagedFlags))))
        # The mirror opens two more files: the connection's other end, and the flag.
        n_files = 3 if preset is EMBEDDED else 1
        max_requests = await asyncio.to_thread(limit_requests, settings.max_requests, files_per_request=n_files)
        session = await stack.enter_async_context(open_source_session(origin, settings))
        yield FlagSource(session, preset, settings, origin=origin, max_requests=max_requests)


def open_source_session(
    origin: str, settings: SourceSettings, *, resolver: AbstractResolver | None = None
) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    """Open the session for the source at *origin*."""
    preset = find_preset(settings.source)
    return open_session(
        origin,
        settings,
        headers=headers_for(settings.source),
        is_public=preset.is_public,
        is_local=preset is EMBEDDED,
        resolver=resolver,
    )


def headers_for(source: str) -> dict[str, str]:
    """Return FLAG_HEADERS if they are meant for *source*, else none.

    They are for FLAG_SOURCE, or any source if unset, but never for a preset.
    """
    headers = read_headers()
    is_meant = source not in PRESETS and os.environ.get("FLAG_SOURCE", source).rstrip("/") == source.rstrip("/")
    if headers and not is_meant:
        logger.warning("%s is not sent: only the source of FLAG_SOURCE gets it, and never a preset", HEADERS_VARIABLE)
    return headers if is_meant else {}
