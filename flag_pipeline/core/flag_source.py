"""From settings to a source that can be asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from flag_pipeline.core.presets import EMBEDDED, find_preset
from flag_pipeline.fetching.client import FlagSource, open_session
from flag_pipeline.fetching.open_files import limit_requests
from flag_pipeline.settings import SourceSettings


@asynccontextmanager
async def open_source(settings: SourceSettings) -> AsyncIterator[FlagSource]:
    """Open the session on the running loop, and the embedded mirror if that is the source; close both at the end."""
    async with AsyncExitStack() as stack:
        preset = find_preset(settings.source)
        origin = preset.base_url
        if preset is EMBEDDED:
            # A server's half of aiohttp: whoever asks another source does not need it.
            from flag_pipeline.core.mirror import Mirror, PackagedFlags, serving

            origin = await stack.enter_async_context(serving(Mirror(await asyncio.to_thread(PackagedFlags))))
        # The mirror answers in this process: it has the connection's other end, and the flag's file.
        n_files = 3 if preset is EMBEDDED else 1
        max_requests = await asyncio.to_thread(limit_requests, settings.max_requests, files_per_request=n_files)
        session = await stack.enter_async_context(open_session(origin, settings))
        yield FlagSource(session, preset, settings, origin=origin, max_requests=max_requests)
