"""A thread that decodes images without blocking the event loop."""

import asyncio
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


class Decoder:
    """Runs blocking work on a daemon thread, in order.

    One thread, because a decoded image takes up to 16 MB and threads keep freed memory. A daemon, because decoding
    cannot be interrupted.
    """

    def __init__(self) -> None:
        self._items: queue.SimpleQueue[WorkItem | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
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
        if self._thread is None:
            thread = threading.Thread(target=_serve, args=(self._items,), name="flag-decoder", daemon=True)
            thread.start()
            self._thread = thread
        future: Future[T] = Future()
        self._items.put((work, future))
        return await asyncio.wrap_future(future)


def _serve(items: "queue.SimpleQueue[WorkItem | None]") -> None:
    while (item := items.get()) is not None:
        _run(*item)
        del item  # frees its image


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
