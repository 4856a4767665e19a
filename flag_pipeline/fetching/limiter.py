"""The limiter of one host: how many requests at once and a second, and when the host is left alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from aiolimiter import AsyncLimiter

# The shortest time for which a host is left alone after a connection to it failed.
FIRST_PAUSE_S = 0.1


class RequestLimiter:
    """Lets attempts through: few at first, more as the host answers, none while it asked for a pause.

    Some servers take few connections at a time (the listen backlog of Python's own `http.server` is 5), and what
    they drop waits seconds to be sent again. So *first* requests may be under way in the beginning, and one more with
    each answer on a connection that the host keeps open, up to *most*: twice as many with each round trip, as in TCP's
    slow start, and each new connection beside one that has just been found to work.

    Where *per_second* is given, attempts that keep the pace are that far apart.
    """

    def __init__(self, *, first: int, most: int, per_second: float | None = None) -> None:
        self._most = most
        self._width = min(first, most)
        self._slots = asyncio.Semaphore(self._width)
        self._paused_until = 0.0
        # One request a bucket: a fuller one would let as many through at once.
        pace = AsyncLimiter(1, 1 / per_second) if per_second else nullcontext()
        self._pace: AbstractAsyncContextManager[None] = pace

    def pause(self, pause_s: float) -> None:
        """Hold every further attempt back for *pause_s* seconds."""
        self._paused_until = max(self._paused_until, _now() + pause_s)

    def widen(self) -> None:
        """Note an answer on a connection that stays open: others will not have to open one."""
        if self._width < self._most:
            self._width += 1
            self._slots.release()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and for the end of a pause; hold the slot inside the block."""
        async with self._slots:
            await self._pause_over()
            yield

    async def keep_pace(self) -> None:
        """Wait until the last attempt is long enough ago, and for the end of a pause that began meanwhile."""
        is_held_back = True
        while is_held_back:
            async with self._pace:
                # Who waited for the end of a pause waits for the pace again: else all of them would go at once.
                is_held_back = await self._pause_over()

    async def _pause_over(self) -> bool:
        """Wait for the end of a pause, and return whether there was one."""
        was_paused = False
        # Another answer may prolong the pause while this one waits.
        while (wait_s := self._paused_until - _now()) > 0:
            was_paused = True
            await asyncio.sleep(wait_s)
        return was_paused


def _now() -> float:
    return asyncio.get_running_loop().time()
