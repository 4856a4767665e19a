"""Limiter of the requests to one host: how many at once, how many per second, and pauses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from aiolimiter import AsyncLimiter


class RequestLimiter:
    """Adaptive concurrency: from *first_requests* at once up to *max_requests*, evenly spaced if *per_second* is set.

    Each answer on a connection that stays open allows one more request, like the slow start of TCP. Some servers accept
    few connections at a time (the listen backlog of Python's `http.server` is 5) and drop others for seconds.
    """

    def __init__(self, *, first_requests: int, max_requests: int, per_second: float | None = None) -> None:
        self._max_requests = max_requests
        self._n_slots = min(first_requests, max_requests)
        self._slots = asyncio.Semaphore(self._n_slots)
        self._paused_until = 0.0
        # A bucket of one request, because a larger one would allow bursts.
        pace = AsyncLimiter(1, 1 / per_second) if per_second else nullcontext()
        self._pace: AbstractAsyncContextManager[None] = pace

    def pause(self, pause_s: float) -> None:
        """Hold back all requests for *pause_s* seconds."""
        self._paused_until = max(self._paused_until, _now() + pause_s)

    def widen(self) -> None:
        """Allow one more request at once, up to the maximum."""
        if self._n_slots < self._max_requests:
            self._n_slots += 1
            self._slots.release()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it inside the block."""
        async with self._slots:
            await self._wait_for_pause()
            yield

    async def keep_pace(self) -> None:
        """Wait for the next turn of *per_second*."""
        was_paused = True
        while was_paused:
            async with self._pace:
                # Requests take turns after a pause too, because otherwise all are sent at once.
                was_paused = await self._wait_for_pause()

    async def _wait_for_pause(self) -> bool:
        """Wait for the end of a pause; return whether there was one."""
        was_paused = False
        # The pause may be prolonged during the wait.
        while (wait_s := self._paused_until - _now()) > 0:
            was_paused = True
            await asyncio.sleep(wait_s)
        return was_paused


def _now() -> float:
    return asyncio.get_running_loop().time()
