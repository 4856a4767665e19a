"""Runs blocking work on threads, in batches of items submitted while those are busy.

Handing over an item and waking the event loop costs about as much as writing a small file.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Generic, TypeVar

from flag_pipeline.workers import Failed, attempt, resolve

T = TypeVar("T")
R = TypeVar("R")


class BatchExecutor(Generic[T, R]):
    """Calls *work* with up to *size* waiting items on *executor*; one more thread serves if one waits for *patience_s*.

    A thread first waits *gather_s* for more. After each batch the executor's other work has its turn.

    An exception of *work* fails the whole batch. A cancelled caller's item is still done before a shutdown.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Failed]],
        executor: ThreadPoolExecutor,
        *,
        threads: int = 1,
        size: int = 1,
        gather_s: float = 0.0,
        patience_s: float = 0.0,
    ) -> None:
        self._work = work
        self._executor = executor
        self._threads = threads
        self._size = size
        self._gather_s = gather_s
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._waiting: deque[tuple[T, asyncio.Future[R], float]] = deque()
        self._n_serving = 0

    async def do(self, item: T) -> R:
        """Return the result of *item* or raise its exception."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        now = time.monotonic()
        with self._lock:
            # First, because `submit` may fail to start a thread.
            if self._n_serving < self._threads and (not self._n_serving or self._is_slow(now)):
                self._executor.submit(self._serve, self._gather_s)
                self._n_serving += 1
            self._waiting.append((item, future, now))
        return await future

    def _is_slow(self, now: float) -> bool:
        waiting_since = self._waiting[0][2] if self._waiting else now
        return now - waiting_since >= self._patience_s

    def _serve(self, gather_s: float) -> None:
        time.sleep(gather_s)
        if batch := self._next_batch():
            results = attempt(self._work, [item for item, _, _ in batch])
            if isinstance(results, Failed):
                results = [results] * len(batch)
            _deliver([future for _, future, _ in batch], results)
        with self._lock:
            if self._waiting:
                # Raised after a shutdown, or if no thread starts.
                with suppress(RuntimeError):
                    self._executor.submit(self._serve, 0.0)
                    return
            # At least 0, because a call whose `submit` raised also runs.
            self._n_serving = max(0, self._n_serving - 1)

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R], float]]:
        with self._lock:
            n_items = min(self._size, -(-len(self._waiting) // max(1, self._n_serving)))
            return [self._waiting.popleft() for _ in range(n_items)]


def for_each(work: Callable[[T], R]) -> Callable[[Sequence[T]], list[R | Failed]]:
    """Return batch work in which exceptions fail only their item."""
    return lambda items: [attempt(work, item) for item in items]


def _deliver(futures: Iterable[asyncio.Future[Any]], results: Iterable[object]) -> None:
    of_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], object]]] = {}
    for future, result in zip(futures, results, strict=True):
        of_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, pairs in of_loop.items():
        with suppress(RuntimeError):  # it may be closed
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Iterable[tuple[asyncio.Future[Any], object]]) -> None:
    for future, result in pairs:
        if not future.done():  # its caller may be cancelled
            resolve(future, result)
