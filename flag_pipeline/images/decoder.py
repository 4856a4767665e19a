"""Child processes that decode images.

Threads would compete with the event loop for the GIL, and a picture that crashes Pillow would end the run.
"""

import asyncio
import os
import pickle
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from flag_pipeline.errors import LocalError
from flag_pipeline.images import child_process
from flag_pipeline.images.child_process import ChildProcess
from flag_pipeline.images.structure import MAX_DECODING_S
from flag_pipeline.workers import Failed, attempt, resolve

T = TypeVar("T")
Call = Callable[[], Any]
WorkItem = tuple[Call, "Future[Any]"]
WorkItems = queue.SimpleQueue[WorkItem | None]

_PROCESS = "flag_pipeline.images.decoder_process"
MAX_PROCESSES = 4
# Each message waits for the GIL.
MAX_BATCH = 8
# Only a fault of a library takes as long.
MAX_CPU_S = 10 * MAX_DECODING_S


def default_processes() -> int:
    """Return a number that leaves one processor to the event loop."""
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MAX_PROCESSES, n_processors - 1))


class Decoder:
    """Makes calls in child processes, begun in order.

    Its threads are daemons, because a call cannot be interrupted.
    """

    def __init__(self, *, processes: int | None = None) -> None:
        self._items: WorkItems = queue.SimpleQueue()
        self._n_processes = processes or default_processes()
        self._threads: list[threading.Thread] = []
        self._finalizer = weakref.finalize(self, _end, self._items)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cancel waiting calls; current ones continue."""
        self._finalizer()

    def prepare(self) -> None:
        """Start a process, which takes a third of a second."""
        if not self._threads:
            self._start()

    def _start(self) -> None:
        arguments = self._items, self._n_processes
        thread = threading.Thread(target=_serve, args=arguments, name="flag-decoder", daemon=True)
        thread.start()
        self._threads.append(thread)

    async def run(self, call: Callable[[], T]) -> T:
        """Return the result of *call*; both are pickled.

        Raises ImageError if it ends its process, RuntimeError after `close`.
        """
        if not self._finalizer.alive:
            raise RuntimeError("the decoder is closed")
        # More processes only for calls that wait.
        if not self._threads or (len(self._threads) < self._n_processes and not self._items.empty()):
            self._start()
        future: Future[T] = Future()
        self._items.put((call, future))
        return await asyncio.wrap_future(future)


def _serve(items: WorkItems, n_processes: int) -> None:
    with closing(_Process()) as process:
        attempt(process.start)  # the first call raises its error
        for batch in _batches(items, n_processes):
            wanted = [(call, future) for call, future in batch if future.set_running_or_notify_cancel()]
            results = process.results([call for call, _ in wanted])
            for (_, future), result in zip(wanted, results, strict=True):
                with suppress(RuntimeError):  # a cancelled caller's event loop may be closed
                    resolve(future, result)
    items.put(None)  # for the next thread


def _batches(items: WorkItems, n_processes: int) -> Iterator[list[WorkItem]]:
    """Yield what waits, in shares, until None comes."""
    is_open = True
    while is_open:
        batch = [items.get()]
        with suppress(queue.Empty):
            for _ in range(min(MAX_BATCH - 1, items.qsize() // n_processes)):
                batch.append(items.get_nowait())  # noqa: PERF401 - kept if another thread takes the rest
        is_open = None not in batch
        yield [item for item in batch if item is not None]


class _Process:
    """A child process, replaced when it has ended."""

    def __init__(self) -> None:
        self._child: ChildProcess | None = None

    def results(self, calls: Sequence[Call]) -> list[Any]:
        """Return the calls' results, `Failed` for those that raise or end the process."""
        results = attempt(self._ask, calls) if calls else []
        if not isinstance(results, Failed):
            return results
        # One of them has ended it.
        return [results] if len(calls) == 1 else [self.results([call])[0] for call in calls]

    def start(self) -> ChildProcess:
        """Return a process."""
        if self._child is None or not self._child.is_alive():
            self.close()
            self._child = _take()
        return self._child

    def _ask(self, calls: Sequence[Call]) -> list[Any]:
        answer = self.start().ask(pickle.dumps(calls), max_cpu_s=MAX_CPU_S, work="decode")
        results: list[Any] = pickle.loads(answer)  # noqa: S301 - our child's
        return results

    def close(self) -> None:
        """Leave the process to the next decoder."""
        if self._child is not None:
            child_process.give_back(self._child)


def _take() -> ChildProcess:
    return child_process.take(_PROCESS, "the process that decodes images")


def start_early() -> None:
    """Start a process for the next decoder."""
    with suppress(LocalError):  # raised when it is needed
        child_process.give_back(_take())


def _end(items: WorkItems) -> None:
    with suppress(queue.Empty):
        while (item := items.get_nowait()) is not None:
            item[1].cancel()
    items.put(None)
