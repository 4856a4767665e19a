"""Blocking work on threads, many pieces at a time: what has come while they were busy goes to them together.

To hand one piece to a thread, and to wake the loop when it is done, costs about as much as a small file or an event.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Piece(Generic[T, R]):
    """One piece of work and what became of it.

    As a context manager it keeps the exception that ends its block for whoever wants the result: it is no other's.

    Attributes:
        given: what there is to work on.
        result: to be set by whoever does the work, if there is one.
    """

    def __init__(self, given: T) -> None:
        self.given = given
        self.result: R = None  # type: ignore[assignment]
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._error = error if isinstance(error, Exception) else None
        return self._error is not None

    def outcome(self) -> R:
        """Return the result, or raise what the work failed with."""
        if self._error is not None:
            raise self._error
        return self.result


class Batcher(Generic[T, R]):
    """Has *work* do waiting pieces on the threads of *executor*; each free thread takes all that wait.

    *work* sets the result of each piece; what it raises itself is the failure of all of them. A caller that is
    cancelled leaves its piece to be done, unless the executor is shut down before.
    """

    def __init__(self, work: Callable[[Sequence[Piece[T, R]]], None], executor: Executor) -> None:
        self._work = work
        self._executor = executor
        self._waiting: deque[Piece[T, R]] = deque()
        self._is_queued = False
        self._batch: asyncio.Future[None]

    async def do(self, given: T) -> R:
        """Return what came of *given*, or raise what it failed with."""
        piece = Piece[T, R](given)
        self._waiting.append(piece)
        if not self._is_queued:
            self._is_queued = True
            self._batch = asyncio.get_running_loop().run_in_executor(self._executor, self._do_waiting)
        await asyncio.shield(self._batch)
        return piece.outcome()

    def _do_waiting(self) -> None:
        # In this order: a piece that comes in between is done by this batch, and finds nothing to do in the next.
        self._is_queued = False
        self._work([self._waiting.popleft() for _ in range(len(self._waiting))])


def one_by_one(work: Callable[[T], R]) -> Callable[[Sequence[Piece[T, R]]], None]:
    """Return the work on a batch that does *work* on each of its pieces, whatever becomes of the others."""

    def do_all(pieces: Sequence[Piece[T, R]]) -> None:
        for piece in pieces:
            with piece:
                piece.result = work(piece.given)

    return do_all
