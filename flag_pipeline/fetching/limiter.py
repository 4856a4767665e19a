"""Limiter of the requests to one host: how many at once, how many per second, and pauses."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from aiolimiter import AsyncLimiter


class RequestLimiter:
    """Adaptive concurrency: starts with *first_requests* at once, and grows to *max_requests* as the host answers.

    Some servers accept few connections at a time: the listen backlog of Python's `http.server` is 5, and a dropped
    connection is tried again after seconds only. So each answer on a connection that stays open allows one more
    request, which doubles them with each round trip, like the slow start of TCP.

    With *per_second*, requests are spaced evenly.
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
        """Hold back all further requests for *pause_s* seconds."""
        self._paused_until = max(self._paused_until, _now() + pause_s)

    def widen(self) -> None:
        """Allow one more request at once, up to the maximum."""
        if self._n_slots < self._max_requests:
            self._n_slots += 1
            self._slots.release()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and for the end of a pause; hold the slot inside the block."""
        async with self._slots:
            await self._pause_over()
            yield

    async def keep_pace(self) -> None:
        """Wait for the next turn of *per_second*, and for the end of a pause."""
        was_paused = True
        while was_paused:
            async with self._pace:
                # After a pause each request waits for its turn again. Otherwise all of them would be sent at once.
                was_paused = await self._pause_over()

    async def _pause_over(self) -> bool:
        """Wait for the end of a pause, and return whether there was one."""
        was_paused = False
        # Another answer may prolong the pause during the wait.
        while (wait_s := self._paused_until - _now()) > 0:
            was_paused = True
            await asyncio.sleep(wait_s)
        return was_paused


def _now() -> float:
    return asyncio.get_running_loop().time()
