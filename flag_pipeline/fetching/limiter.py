"""Limits requests to one host: at once, per second, and pauses."""

import asyncio
from types import TracebackType
from typing import Self

from aiolimiter import AsyncLimiter


class RequestLimiter:
    """Holds a slot inside its block, after a pause: *first_requests* at once, later *max_requests*.

    Each answer on a connection that stays open allows one more, like TCP slow start, because some servers accept few at
    a time (`http.server` has a listen backlog of 5).
    """

    def __init__(self, *, first_requests: int, max_requests: int, per_second: float | None = None) -> None:
        self._max_requests = max_requests
        self._n_slots = min(first_requests, max_requests)
        self._slots = asyncio.Semaphore(self._n_slots)
        self._paused_until = 0.0
        # A larger bucket would allow bursts.
        self._pace = AsyncLimiter(1, 1 / per_second) if per_second else None

    def pause(self, pause_s: float) -> None:
        """Hold back all requests."""
        self._paused_until = max(self._paused_until, _now() + pause_s)

    def widen(self) -> None:
        """Allow one more request at once."""
        if self._n_slots < self._max_requests:
            self._n_slots += 1
            self._slots.release()

    async def __aenter__(self) -> Self:
        await self._slots.acquire()
        is_waiting = True
        try:
            await self._wait_for_pause()
            is_waiting = False
        finally:
            if is_waiting:
                self._slots.release()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.release()

    async def keep_pace(self) -> None:
        """Wait until *per_second* allows the next request."""
        if self._pace is None:
            return
        was_paused = True
        while was_paused:
            async with self._pace:
                # Requests take turns after a pause too.
                was_paused = await self._wait_for_pause()

    async def _wait_for_pause(self) -> bool:
        was_paused = False
        while (wait_s := self._paused_until - _now()) > 0:
            was_paused = True
            await asyncio.sleep(wait_s)
        return was_paused


def _now() -> float:
    return asyncio.get_running_loop().time()
