"""Many countries at once, exactly one outcome each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import assert_never

from flag_pipeline.errors import ErrorKind
from flag_pipeline.models import Effort, FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, Outcome

# Countries under way for each request that may be: while some are asked for, others are checked, stored and recorded.
UNDER_WAY = 2


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


async def sweep(
    codes: Iterable[str],
    refresh: Callable[[str], Awaitable[Outcome]],
    record: Callable[[Outcome], Awaitable[None]],
    *,
    max_requests: int,
    timeout_s: float,
) -> SweepSummary:
    """Refresh every code, record each outcome as soon as it is known, and return the summary.

    Countries that are not done after *timeout_s* seconds fail with kind `timeout`. Memory is bounded by
    *max_requests*, not by the number of codes. When cancelled, it waits for nothing more and records nothing more.
    """
    waiting = dict.fromkeys(codes)
    summary = SweepSummary(requested=len(waiting))
    todo = iter(list(waiting))

    async def settle(outcome: Outcome) -> None:
        del waiting[outcome.code]
        summary.add(outcome)
        await record(outcome)

    async def work() -> None:
        for code in todo:
            await settle(await refresh(code))

    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            for number in range(min(len(waiting), UNDER_WAY * max_requests)):
                group.create_task(work(), name=f"sweep-{number}")
    except TimeoutError:
        reason = f"the sweep was ended after {timeout_s:g} s"
        for code in list(waiting):
            await settle(FlagFailed(code, ErrorKind.TIMEOUT, reason, "", 0, Effort()))
    return summary
