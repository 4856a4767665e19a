"""Many countries at once, exactly one outcome each."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from flag_pipeline.core.absence import Verdict
from flag_pipeline.errors import ErrorKind
from flag_pipeline.models import Effort, FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, Missed, Outcome

# Countries under way for each request that may be: while some are asked for, others are checked, stored and recorded.
UNDER_WAY = 2
# A small file for each country that is given up takes a moment; a store that hangs may be why there was no more time.
NOTING_S = 10.0


@dataclass(slots=True)
class SweepSummary:
    """What came of a sweep: counts, and the countries that brought nothing.

    Attributes:
        problem: why the run fails although no country has failed, else empty.
    """

    requested: int
    saved: int = 0
    unchanged: int = 0
    not_found: list[FlagNotFound] = field(default_factory=list)
    failed: list[FlagFailed] = field(default_factory=list)
    problem: str = ""

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


class Judging(Protocol):
    """Decides at the end of a sweep what the countries are recorded as that the source does not have."""

    async def judge(self, absent: Sequence[FlagNotFound], *, codes: Collection[str], n_found: int) -> Verdict:
        """Return an outcome for each of the *absent* ones of *codes*, and whether the run has a problem."""


class Believing:
    """Believes every source."""

    async def judge(self, absent: Sequence[FlagNotFound], *, codes: Collection[str], n_found: int) -> Verdict:  # noqa: ARG002
        """Return the countries as they are: absent."""
        return Verdict(absent)


async def sweep(
    codes: Iterable[str],
    refresher: Refreshing,
    record: Callable[[Outcome], Awaitable[None]],
    *,
    max_requests: int,
    timeout_s: float,
    judge: Judging | None = None,
) -> SweepSummary:
    """Refresh every code, record each outcome as soon as it is known, and return the summary.

    Countries that the source does not have are recorded last, as *judge* decides. Countries that are not done after
    *timeout_s* seconds fail with kind `timeout`, which the store is given NOTING_S more to note. Memory is bounded by
    *max_requests*, not by the number of codes. When cancelled, it waits for nothing more and records nothing more.
    """
    waiting = dict.fromkeys(codes)
    wanted = tuple(waiting)
    summary = SweepSummary(requested=len(wanted))
    absent: list[FlagNotFound] = []

    async def settle(outcome: Outcome) -> None:
        summary.add(outcome)
        await record(outcome)

    async def settle_but_absent(outcome: Outcome) -> None:
        if isinstance(outcome, FlagNotFound):
            absent.append(outcome)
        else:
            await settle(outcome)

    def too_late(code: str) -> FlagFailed:
        return FlagFailed(code, ErrorKind.TIMEOUT, f"the sweep was ended after {timeout_s:g} s", "", 0, Effort())

    n_workers = UNDER_WAY * max_requests
    await _work(waiting, refresher.refresh, settle_but_absent, n_workers=n_workers, within_s=timeout_s)
    late = [too_late(code) for code in waiting]
    await _conclude(late, refresher, settle, n_workers=n_workers)
    if absent:
        verdict = await (judge or Believing()).judge(absent, codes=wanted, n_found=summary.saved + summary.unchanged)
        summary.problem = verdict.problem
        await _conclude(verdict.outcomes, refresher, settle, n_workers=n_workers)
    return summary


async def _work(
    waiting: dict[str, None],
    obtain: Callable[[str], Awaitable[Outcome]],
    settle: Callable[[Outcome], Awaitable[None]],
    *,
    n_workers: int,
    within_s: float,
) -> None:
    """Obtain and settle each outcome, so many at once; what is not done in time stays in *waiting*."""
    todo = iter(list(waiting))

    async def work() -> None:
        for code in todo:
            outcome = await obtain(code)
            del waiting[code]
            await settle(outcome)

    with suppress(TimeoutError):
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
            for number in range(min(len(waiting), n_workers)):
                group.create_task(work(), name=f"sweep-{number}")


async def _conclude(
    misses: Sequence[Missed], refresher: Refreshing, settle: Callable[[Outcome], Awaitable[None]], *, n_workers: int
) -> None:
    """Settle what has been decided, noted in the store if that does not take too long."""
    decided = {miss.code: miss for miss in misses}
    waiting = dict.fromkeys(decided)
    await _work(waiting, lambda code: _noted(refresher, decided[code]), settle, n_workers=n_workers, within_s=NOTING_S)
    for code in list(waiting):
        await settle(decided[code])


async def _noted(refresher: Refreshing, missed: Missed) -> Missed:
    """Return the miss as the store has noted it; that a country is not found was noted when it was."""
    return await refresher.remember(missed) if isinstance(missed, FlagFailed) else missed
