"""Blocking work on threads, many pieces at a time: what has come while they were busy goes to them together.

To hand one piece to a thread, and to wake the loop when it is done, costs about as much as a small file or an event.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Failure:
    """Keeps the exception that ends its block, for somebody else to raise.

    Attributes:
        error: None when the block ended well.
    """

    error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


class Piece(Failure, Generic[T, R]):
    """One piece of work and what became of it; work that fails inside its block is no other piece's failure.

    Attributes:
        given: what there is to work on.
        result: to be set by whoever does the work, if there is one.
    """

    def __init__(self, given: T) -> None:
        self.given = given
        self.result: R = None  # type: ignore[assignment]
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self) -> None:
        """Wake whoever waits; on the loop."""
        if not self._done.done():
            self._done.set_result(None)

    async def outcome(self) -> R:
        """Return the result once it is there, or raise what the work failed with."""
        await self._done
        if self.error is not None:
            raise self.error
        return self.result


class BatchExecutor(Generic[T, R]):
    """Has *work* do waiting pieces on *executor*, which has so many *threads*; a free thread takes its share of them.

    *work* sets the result of each piece; what it raises itself is the failure of all of them. A caller that is
    cancelled leaves its piece to be done, unless the executor is shut down before.
    """

    def __init__(
        self, work: Callable[[Sequence[Piece[T, R]]], None], executor: ThreadPoolExecutor, *, threads: int = 1
    ) -> None:
        self._work = work
        self._executor = executor
        self._threads = threads
        self._lock = threading.Lock()
        self._waiting: deque[Piece[T, R]] = deque()
        self._n_queued = 0

    async def do(self, given: T) -> R:
        """Return what came of *given*, or raise what it failed with."""
        piece = Piece[T, R](given)
        with self._lock:
            # In this order: where no thread can be started, nobody is counted on, and the piece does not wait.
            if self._n_queued < self._threads:
                self._executor.submit(self._do_share, asyncio.get_running_loop())
                self._n_queued += 1
            self._waiting.append(piece)
        return await piece.outcome()

    def _do_share(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            # Those that are queued behind take the rest. The executor also keeps what it could not start a thread for:
            # then there is one more than was counted, and nothing left for the last.
            n_sharing = max(1, self._n_queued)
            self._n_queued = n_sharing - 1
            pieces = [self._waiting.popleft() for _ in range(-(-len(self._waiting) // n_sharing))]
        if not pieces:
            return
        with Failure() as of_all:
            self._work(pieces)
        for piece in pieces:
            piece.error = piece.error or of_all.error
        loop.call_soon_threadsafe(_settle, pieces)


def _settle(pieces: Iterable[Piece[Any, Any]]) -> None:
    for piece in pieces:
        piece.settle()


def one_by_one(work: Callable[[T], R]) -> Callable[[Sequence[Piece[T, R]]], None]:
    """Return the work on a batch that does *work* on each of its pieces, whatever becomes of the others."""

    def do_all(pieces: Sequence[Piece[T, R]]) -> None:
        for piece in pieces:
            with piece:
                piece.result = work(piece.given)

    return do_all
