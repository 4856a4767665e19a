"""Threads that decode images without blocking the event loop."""

import asyncio
import os
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from flag_pipeline.workers import attempt, resolve

T = TypeVar("T")
WorkItem = tuple[Callable[[], Any], "Future[Any]"]


MAX_THREADS = 4


def default_threads() -> int:
    """Return a number that leaves one processor to the event loop."""
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_THREADS, n_processors - 1))


class Decoder:
    """Runs blocking work on daemon threads, begun in order.

    Threads, because Pillow releases the GIL: a second thread costs a tenth more processor time, a process its start and
    copies. Few, because a decoded image takes up to 16 MB and threads keep freed memory. Daemons, because decoding
    cannot be interrupted.
    """

    def __init__(self, *, threads: int | None = None) -> None:
        self._items: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._n_threads = threads or default_threads()
        self._threads: list[threading.Thread] = []
        self._finalizer = weakref.finalize(self, _end, self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel waiting work; current work continues."""
        self._finalizer()

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of *work*. Raises RuntimeError after `close`."""
        if not self._finalizer.alive:
            raise RuntimeError("the decoder is closed")
        # More threads only for work that waits.
        if not self._threads or (len(self._threads) < self._n_threads and not self._items.empty()):
            thread = threading.Thread(target=_serve, args=(self._items,), name="flag-decoder", daemon=True)
            thread.start()
            self._threads.append(thread)
        future: Future[T] = Future()
        self._items.put((work, future))
        return await asyncio.wrap_future(future)


def _serve(items: "queue.SimpleQueue[WorkItem | None]") -> None:
    while (item := items.get()) is not None:
        _run(*item)
        del item  # frees its image
    items.put(None)  # for the next thread


def _run(work: Callable[[], Any], future: "Future[Any]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    with suppress(RuntimeError):  # a cancelled caller's event loop may be closed
        resolve(future, attempt(work))


def _end(items: "queue.SimpleQueue[WorkItem | None]") -> None:
    with suppress(queue.Empty):
        while (item := items.get_nowait()) is not None:
            item[1].cancel()
    items.put(None)
