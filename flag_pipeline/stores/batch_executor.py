"""Runs blocking work on threads, in batches of items submitted while those are busy.

Handing over an item and waking the event loop costs about as much as writing a small file.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, TypeVar

from flag_pipeline.workers import Failed, attempt, resolve

T = TypeVar("T")
R = TypeVar("R")


class BatchExecutor(Generic[T, R]):
    """Calls *work* with up to *size* waiting items on *executor*; one more thread serves if one waits for *patience_s*.

    A thread first waits *gather_s* for more. After *turn_s* it delivers results, and the executor's other work has its
    turn. If an item hangs, the others' results come after *patience_s*.

    An exception of *work* fails the whole batch. A cancelled caller's item is still done before a shutdown.
    """

    def __init__(  # noqa: PLR0913 - all but two are keyword-only
        self,
        work: Callable[[Sequence[T]], Sequence[R | Failed]],
        executor: ThreadPoolExecutor,
        *,
        threads: int = 1,
        size: int = 1,
        gather_s: float = 0.0,
        turn_s: float = 0.0,
        patience_s: float = 0.0,
    ) -> None:
        self._work = work
        self._executor = executor
        self._threads = threads
        self._size = size
        self._gather_s = gather_s
        self._turn_s = turn_s
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._n_serving = 0
        # By event loop.
        self._results: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[R], R | Failed]]] = {}

    async def do(self, item: T) -> R:
        """Return the result of *item* or raise its exception."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        with self._lock:
            # First, because `submit` may fail to start a thread.
            if self._n_serving < (1 if self._patience_s else self._threads):
                self._executor.submit(self._serve, self._gather_s)
                self._n_serving += 1
            self._waiting.append((item, future))
        if not self._patience_s:
            return await future
        timer = loop.call_later(self._patience_s, self._help, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _help(self, future: asyncio.Future[R]) -> None:
        self._resolve(future.get_loop())
        with self._lock:
            is_waiting = any(other is future for _, other in self._waiting)
            if is_waiting and self._n_serving < self._threads:
                # Raised after a shutdown, or if no thread starts.
                with suppress(RuntimeError):
                    self._executor.submit(self._serve, 0.0)
                    self._n_serving += 1

    def _serve(self, gather_s: float) -> None:
        time.sleep(gather_s)
        turn_ends_at = time.monotonic() + self._turn_s
        while batch := self._next_batch():
            results = attempt(self._work, [item for item, _ in batch])
            if isinstance(results, Failed):
                results = [results] * len(batch)
            with self._lock:
                for (_, future), result in zip(batch, results, strict=True):
                    self._results.setdefault(future.get_loop(), []).append((future, result))
            if time.monotonic() >= turn_ends_at:
                break
        with self._lock:
            for loop in list(self._results):
                try:
                    loop.call_soon_threadsafe(self._resolve, loop)
                except RuntimeError:  # it is closed
                    del self._results[loop]
            if self._waiting:
                # Raised after a shutdown, or if no thread starts.
                with suppress(RuntimeError):
                    self._executor.submit(self._serve, 0.0)
                    return
            # At least 0, because a call whose `submit` raised also runs.
            self._n_serving = max(0, self._n_serving - 1)

    def _next_batch(self) -> list[tuple[T, asyncio.Future[R]]]:
        with self._lock:
            n_items = min(self._size, -(-len(self._waiting) // max(1, self._n_serving)))
            return [self._waiting.popleft() for _ in range(n_items)]

    def _resolve(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            pairs = self._results.pop(loop, [])
        for future, result in pairs:
            if not future.done():  # its caller may be cancelled
                resolve(future, result)


def for_each(work: Callable[[T], R]) -> Callable[[Sequence[T]], list[R | Failed]]:
    """Return batch work in which exceptions fail only their item."""
    return lambda items: [attempt(work, item) for item in items]
