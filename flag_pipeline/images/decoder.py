"""One thread that decodes pictures, so that the event loop goes on and no picture outlives the command."""

import asyncio
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from flag_pipeline.stores.batch_executor import Failure

T = TypeVar("T")
Piece = tuple[Callable[[], Any], "Future[Any]"]


class Decoder:
    """Runs blocking work on pictures on one thread, in the order in which it comes.

    One thread for all, because a decoded picture takes up to 16 MB, and each thread keeps what it freed. It is a daemon
    thread: nothing can stop a thread in the middle of a picture, so neither `close` nor the end of the process waits
    for it. The thread starts with the first work, and ends at `close` or when nothing refers to the decoder any more.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ending = weakref.finalize(self, _end, self._waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel the work that waits, and end the thread after the picture that it decodes now."""
        self._ending()

    async def run(self, work: Callable[[], T]) -> T:
        """Return what *work* returns, or raise what it raises. Work that its caller gave up is not begun.

        Raises RuntimeError after `close`.
        """
        if not self._ending.alive:
            raise RuntimeError("the decoder is closed")
        if self._thread is None:
            thread = threading.Thread(target=_serve, args=(self._waiting,), name="flag-decoder", daemon=True)
            thread.start()
            self._thread = thread
        future: Future[T] = Future()
        self._waiting.put((work, future))
        return await asyncio.wrap_future(future)


def _serve(waiting: "queue.SimpleQueue[Piece | None]") -> None:
    while (piece := waiting.get()) is not None:
        _do(*piece)
        # Or the last picture stays in memory until the next comes.
        del piece


def _do(work: Callable[[], Any], future: "Future[Any]") -> None:
    if not future.set_running_or_notify_cancel():
        return
    result = None
    with Failure() as failure:
        result = work()
    # The loop of a caller that was cancelled may be closed by now.
    with suppress(RuntimeError):
        if failure.error is None:
            future.set_result(result)
        else:
            future.set_exception(failure.error)


def _end(waiting: "queue.SimpleQueue[Piece | None]") -> None:
    with suppress(queue.Empty):
        while (piece := waiting.get_nowait()) is not None:
            piece[1].cancel()
    waiting.put(None)
