"""The boundary of worker threads: exceptions become results, which the caller raises."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """The result of work that raised."""

    error: BaseException


def attempt(work: Callable[..., T], *arguments: Any) -> T | Failed:
    """Call *work*; return what it returns, or `Failed`."""
    try:
        return work(*arguments)
    except BaseException as exc:  # noqa: BLE001 - the boundary of a worker thread
        return Failed(exc)


class Future(Protocol):
    """A future of `asyncio` or `concurrent.futures`."""

    def set_result(self, result: Any, /) -> None: ...  # noqa: D102
    def set_exception(self, exception: BaseException, /) -> None: ...  # noqa: D102


def resolve(future: Future, result: object) -> None:
    """Give *future* what `attempt` returned."""
    if isinstance(result, Failed):
        future.set_exception(result.error)
    else:
        future.set_result(result)
