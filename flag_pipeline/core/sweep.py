"""Many countries at once, exactly one outcome each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from flag_pipeline.errors import ErrorKind
from flag_pipeline.models import Effort, FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, Missed, Outcome

# Countries under way for each request that may be: while some are asked for, others are checked, stored and recorded.
UNDER_WAY = 2
# A small file for each country that is given up takes a moment; a store that hangs may be why there was no more time.
NOTING_S = 10.0


@dataclass(slots=True)
class SweepSummary:
    """What came of a sweep: counts, and the countries that brought nothing."""

    requested: int
    saved: int = 0
    unchanged: int = 0
    not_found: list[FlagNotFound] = field(default_factory=list)
    failed: list[FlagFailed] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one country's outcome."""
        match outcome:
            case FlagSaved():
                self.saved += 1
            case FlagUnchanged():
                self.unchanged += 1
            case FlagNotFound():
                self.not_found.append(outcome)
            case FlagFailed():
                self.failed.append(outcome)
            case _:
                assert_never(outcome)


class Refreshing(Protocol):
    """What is done for one country; neither raises for a country's sake."""

    async def refresh(self, code: str) -> Outcome:
        """Bring the country up to date and say what came of it."""

    async def remember(self, missed: Missed) -> Missed:
        """Note in the store that the country brought nothing, and say whether that is new."""


async def sweep(
    codes: Iterable[str],
    refresher: Refreshing,
    record: Callable[[Outcome], Awaitable[None]],
    *,
    max_requests: int,
    timeout_s: float,
) -> SweepSummary:
    """Refresh every code, record each outcome as soon as it is known, and return the summary.

    Countries that are not done after *timeout_s* seconds fail with kind `timeout`, which the store is given NOTING_S
    more to note. Memory is bounded by *max_requests*, not by the number of codes. When cancelled, it waits for nothing
    more and records nothing more.
    """
    waiting = dict.fromkeys(codes)
    summary = SweepSummary(requested=len(waiting))

    async def settle(outcome: Outcome) -> None:
        del waiting[outcome.code]
        summary.add(outcome)
        await record(outcome)

    async def settle_all(obtain: Callable[[str], Awaitable[Outcome]], within_s: float) -> None:
        todo = iter(list(waiting))

        async def work() -> None:
            for code in todo:
                await settle(await obtain(code))

        with suppress(TimeoutError):
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
                for number in range(min(len(waiting), UNDER_WAY * max_requests)):
                    group.create_task(work(), name=f"sweep-{number}")

    def too_late(code: str) -> FlagFailed:
        return FlagFailed(code, ErrorKind.TIMEOUT, f"the sweep was ended after {timeout_s:g} s", "", 0, Effort())

    await settle_all(refresher.refresh, timeout_s)
    await settle_all(lambda code: refresher.remember(too_late(code)), NOTING_S)
    for code in list(waiting):
        await settle(too_late(code))
    return summary
