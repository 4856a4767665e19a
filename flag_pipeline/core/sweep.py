"""Many countries at once, exactly one outcome each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, assert_never

from flag_pipeline.core.absence import Verdict
from flag_pipeline.core.models import FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, Missed, Outcome
from flag_pipeline.errors import ErrorKind
from flag_pipeline.fetching.models import FetchStatistics

# Countries under way for each request that may be: while some are asked for, others are checked, stored and recorded.
UNDER_WAY = 2
# A small file for each country that is given up takes a moment; a store that hangs may be why there was no more time.
NOTING_S = 10.0
# Ctrl-C ends a command within two seconds.
INTERRUPTED_S = 1.0
IN_DOUBT = "the answer may be that to another request, and the run was interrupted before it could ask again"


@dataclass(slots=True)
class SweepSummary:
    """What came of a sweep: which countries were fetched, and which brought nothing.

    Attributes:
        problem: why the run fails although no country has failed, else empty.
    """

    requested: int
    saved_codes: set[str] = field(default_factory=set)
    unchanged_codes: set[str] = field(default_factory=set)
    not_found: list[FlagNotFound] = field(default_factory=list)
    failed: list[FlagFailed] = field(default_factory=list)
    problem: str = ""

    @property
    def saved(self) -> int:
        """How many countries have new content."""
        return len(self.saved_codes)

    @property
    def unchanged(self) -> int:
        """How many countries are as they were stored."""
        return len(self.unchanged_codes)

    def add(self, outcome: Outcome) -> None:
        """Count one country's outcome."""
        match outcome:
            case FlagSaved():
                self.saved_codes.add(outcome.code)
            case FlagUnchanged():
                self.unchanged_codes.add(outcome.code)
            case FlagNotFound():
                self.not_found.append(outcome)
            case FlagFailed():
                self.failed.append(outcome)
            case _:
                assert_never(outcome)

    def withdraw(self, codes: Iterable[str]) -> None:
        """Forget the outcomes of *codes*, which will have others."""
        self.saved_codes.difference_update(codes)
        self.unchanged_codes.difference_update(codes)
        self.not_found = [miss for miss in self.not_found if miss.code not in codes]
        self.failed = [miss for miss in self.failed if miss.code not in codes]


class Refreshing(Protocol):
    """What is done for one country; none of it raises for a country's sake."""

    async def refresh(self, code: str) -> Outcome:
        """Bring the country up to date and say what came of it."""

    async def record_failure(self, missed: Missed) -> Missed:
        """Note in the store that the country brought nothing, and say whether that is new."""

    async def quiet(self) -> None:
        """Wait until everything that could cast doubt on an answer would have come."""

    async def take_back(self) -> set[str]:
        """Undo what was stored of countries whose answers are in doubt, and return their codes."""


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

    Countries whose answers turn out to be in doubt are refreshed and recorded again. Countries that the source does not
    have are recorded last, as *judge* decides. Countries that are not done after *timeout_s* seconds fail with kind
    `timeout`, which the store is given NOTING_S more to note. Memory is bounded by *max_requests*, not by the number of
    codes. When cancelled, it records nothing more than that recorded answers are in doubt.
    """
    run = _Sweep(codes, refresher, record, n_tasks=UNDER_WAY * max_requests)
    too_late = partial(_given_up, kind=ErrorKind.TIMEOUT, reason=f"the sweep was ended after {timeout_s:g} s")
    try:
        async with _within(timeout_s):
            await run.fetch_all()
    except asyncio.CancelledError:
        async with _within(INTERRUPTED_S):
            for code in await run.reopen_doubtful():
                missed = _given_up(code, kind=ErrorKind.CONNECTION, reason=IN_DOUBT)
                await run.settle(await refresher.record_failure(missed))
        raise
    async with _within(NOTING_S):
        await run.reopen_doubtful()
    await run.conclude([too_late(code) for code in run.waiting])
    await run.judge_absent(judge or Believing())
    return run.summary


class _Sweep:
    """A sweep under way.

    Attributes:
        waiting: the countries without an outcome.
    """

    def __init__(
        self,
        codes: Iterable[str],
        refresher: Refreshing,
        record: Callable[[Outcome], Awaitable[None]],
        *,
        n_tasks: int,
    ) -> None:
        self.waiting = dict.fromkeys(codes)
        self.summary = SweepSummary(requested=len(self.waiting))
        self._codes = tuple(self.waiting)
        self._absent: dict[str, FlagNotFound] = {}
        self._refresher = refresher
        self._record = record
        self._n_tasks = n_tasks

    async def fetch_all(self) -> None:
        """Refresh every country, and again those whose answers turn out to be in doubt."""
        is_first = True
        while is_first or await self.reopen_doubtful():
            is_first = False
            await self._obtain_all(self._refresher.refresh, self._settle_unless_absent)
            await self._refresher.quiet()

    async def conclude(self, misses: Sequence[Missed]) -> None:
        """Settle what has been decided, noted in the store if that does not take too long."""
        decided = {miss.code: miss for miss in misses}
        self.waiting |= dict.fromkeys(decided)
        async with _within(NOTING_S):
            await self._obtain_all(lambda code: self._noted(decided[code]), self.settle)
        for code in list(self.waiting):
            await self.settle(decided[code])

    async def judge_absent(self, judge: Judging) -> None:
        """Settle the countries that the source does not have, as *judge* decides."""
        if not self._absent:
            return
        n_found = self.summary.saved + self.summary.unchanged
        verdict = await judge.judge(list(self._absent.values()), codes=self._codes, n_found=n_found)
        self.summary.problem = verdict.problem
        await self.conclude(verdict.outcomes)

    async def _obtain_all(
        self, obtain: Callable[[str], Awaitable[Outcome]], settle: Callable[[Outcome], Awaitable[None]]
    ) -> None:
        todo = iter(list(self.waiting))

        async def work() -> None:
            for code in todo:
                await settle(await obtain(code))

        async with asyncio.TaskGroup() as group:
            for number in range(min(len(self.waiting), self._n_tasks)):
                group.create_task(work(), name=f"sweep-{number}")

    async def _noted(self, missed: Missed) -> Missed:
        """Return the miss as the store has noted it; that a country is not found was noted when it was."""
        return await self._refresher.record_failure(missed) if isinstance(missed, FlagFailed) else missed

    async def _settle_unless_absent(self, outcome: Outcome) -> None:
        if isinstance(outcome, FlagNotFound):
            del self.waiting[outcome.code]
            self._absent[outcome.code] = outcome
        else:
            await self.settle(outcome)

    async def settle(self, outcome: Outcome) -> None:
        """Count and record one country's outcome."""
        del self.waiting[outcome.code]
        self.summary.add(outcome)
        await self._record(outcome)

    async def reopen_doubtful(self) -> list[str]:
        """Withdraw the outcomes that came from answers in doubt, and return their countries."""
        codes = sorted(await self._refresher.take_back() - self.waiting.keys())
        self.summary.withdraw(codes)
        for code in codes:
            self._absent.pop(code, None)
        self.waiting |= dict.fromkeys(codes)
        return codes


@asynccontextmanager
async def _within(limit_s: float) -> AsyncIterator[None]:
    """Leave the block after *limit_s* seconds at the latest."""
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            yield


def _given_up(code: str, *, kind: ErrorKind, reason: str) -> FlagFailed:
    return FlagFailed(code, kind, reason, "", 0, FetchStatistics())
