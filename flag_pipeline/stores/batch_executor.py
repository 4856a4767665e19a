"""Runs blocking work on threads, in batches of items submitted while those are busy.

Handing over an item and waking the event loop costs about as much as writing a small file.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from flag_pipeline.workers import Failed, attempt, resolve

T = TypeVar("T")
R = TypeVar("R")


class BatchExecutor(Generic[T, R]):
    """Calls *work* with the waiting items on *executor*.

    An exception of *work* fails the whole batch. A cancelled caller's item is still done.
    """

    def __init__(
        self, work: Callable[[Sequence[T]], Sequence[R | Failed]], executor: ThreadPoolExecutor, *, threads: int = 1
    ) -> None:
        self._work = work
        self._executor = executor
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._n_queued = 0

    async def do(self, item: T) -> R:
        """Return the result of *item* or raise its exception."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        with self._lock:
            # First, because `submit` may fail to start a thread.
            if self._n_queued < self._threads:
                self._executor.submit(self._do_share, loop)
                self._n_queued += 1
            self._waiting.append((item, future))
        return await future

    def _do_share(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            # At least 1, because a call whose `submit` raised also runs.
            n_sharing = max(1, self._n_queued)
            self._n_queued = n_sharing - 1
            share = [self._waiting.popleft() for _ in range(-(-len(self._waiting) // n_sharing))]
        if share:
            results = attempt(self._work, [item for item, _ in share])
            if isinstance(results, Failed):
                results = [results] * len(share)
            loop.call_soon_threadsafe(_resolve, [future for _, future in share], results)


def for_each(work: Callable[[T], R]) -> Callable[[Sequence[T]], list[R | Failed]]:
    """Return batch work in which exceptions fail only their item."""
    return lambda items: [attempt(work, item) for item in items]


def _resolve(futures: Iterable[asyncio.Future[Any]], results: Iterable[object]) -> None:
    for future, result in zip(futures, results, strict=True):
        if not future.done():  # its caller may be cancelled
            resolve(future, result)
