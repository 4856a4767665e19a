"""Many countries at once without Dagster: as a fetching step runs them, with the outcomes for a test to look at."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flag_pipeline.core.absence import Verdict
from flag_pipeline.core.models import FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, Missed, Outcome
from flag_pipeline.defs.countries import Countries, Judging, Refreshing
from flag_pipeline.defs.flags import IN_PROGRESS
from flag_pipeline.errors import ErrorKind
from flag_pipeline.fetching.models import FetchStatistics
from flag_pipeline.isolation import Hooks, Limits
from flag_pipeline.isolation.attempts import PartitionRunner
from flag_pipeline.isolation.concurrency import for_each
from flag_pipeline.isolation.outcomes import Assets, Ended, ended
from flag_pipeline.isolation.outcomes import Missed as MissedPartition


@dataclass(slots=True)
class SweepSummary:
    """The latest outcome of each country, and what the judge of absent countries says."""

    requested: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    problem: str = ""

    @property
    def saved_codes(self) -> set[str]:
        """Countries with new content."""
        return {code for code, outcome in self.outcomes.items() if isinstance(outcome, FlagSaved)}

    @property
    def unchanged_codes(self) -> set[str]:
        """Countries that are as they were stored."""
        return {code for code, outcome in self.outcomes.items() if isinstance(outcome, FlagUnchanged)}

    @property
    def saved(self) -> int:
        """How many countries have new content."""
        return len(self.saved_codes)

    @property
    def unchanged(self) -> int:
        """How many countries are as they were stored."""
        return len(self.unchanged_codes)

    @property
    def not_found(self) -> list[FlagNotFound]:
        """Countries that the source does not have."""
        return [outcome for outcome in self.outcomes.values() if isinstance(outcome, FlagNotFound)]

    @property
    def failed(self) -> list[FlagFailed]:
        """Countries that failed."""
        return [outcome for outcome in self.outcomes.values() if isinstance(outcome, FlagFailed)]


class Believing:
    """Believes every source."""

    async def judge(self, absent: Sequence[FlagNotFound], *, codes: Collection[str], n_found: int) -> Verdict:  # noqa: ARG002
        """Return the countries as they are: absent."""
        return Verdict(absent)


class Watched:
    """A refresher whose latest outcomes can be looked up."""

    def __init__(self, refresher: Refreshing) -> None:
        self._refresher = refresher
        self.wait_for_late_answers = refresher.wait_for_late_answers
        self.take_back = refresher.take_back
        self.outcomes: dict[str, Outcome] = {}

    async def refresh(self, code: str) -> Outcome:
        """Refresh, and keep the outcome."""
        self.outcomes[code] = await self._refresher.refresh(code)
        return self.outcomes[code]

    async def record_failure(self, missed: Missed) -> Missed:
        """Remember, and keep the outcome."""
        self.outcomes[missed.code] = missed
        self.outcomes[missed.code] = remembered = await self._refresher.record_failure(missed)
        return remembered


async def sweep(
    codes: Iterable[str],
    refresher: Refreshing,
    record: Callable[[Outcome], Awaitable[None]],
    *,
    max_requests: int,
    timeout_s: float,
    judge: Judging | None = None,
) -> SweepSummary:
    """Fetch every code, record each outcome as soon as it is known, and return the summary."""
    codes = list(dict.fromkeys(codes))
    watched, summary = Watched(refresher), SweepSummary(len(codes))
    countries = Countries(watched, judge or Believing(), (), codes=codes)

    async def finish(code: str, returned: Any, attempt: int) -> Ended:
        return ended(code, returned, Assets(()), attempts=attempt)

    async def settle(partition: Ended) -> None:
        outcome = watched.outcomes.get(partition.key) or _given_up(partition)
        summary.outcomes[partition.key] = outcome
        await record(outcome)

    limits = Limits(IN_PROGRESS * max_requests, step_timeout_s=timeout_s)
    runner = PartitionRunner(countries.fetch, finish, limits, countries.note_failure)
    hooks = Hooks(revoke=countries.revoke, note_failure=runner.noted, judge=countries.judge)
    summary.problem = await for_each(codes, runner.run, settle, limits, hooks)
    return summary


def _given_up(partition: Ended) -> FlagFailed:
    assert isinstance(partition, MissedPartition)
    return FlagFailed(partition.key, ErrorKind(partition.kind), partition.reason, "", 0, FetchStatistics())
