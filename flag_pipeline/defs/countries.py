"""The countries of a fetching step: failures, absence and doubtful answers."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import dagster as dg

from flag_pipeline.core import absence
from flag_pipeline.core.models import FlagFailed, FlagNotFound, FlagSaved, FlagUnchanged, Missed, Outcome
from flag_pipeline.defs.events import Delivered, delivered, missed
from flag_pipeline.errors import ErrorKind, printable
from flag_pipeline.fetching.models import FetchStatistics
from flag_pipeline.isolation import Absent, Failed, Verdict
from flag_pipeline.isolation import Missed as MissedPartition

logger = logging.getLogger(__name__)


class Refreshing(Protocol):
    """Fetches and records one country; what it raises is a bug."""

    async def refresh(self, code: str) -> Outcome:
        """Update the country and return its outcome."""

    async def record_failure(self, missed: Missed) -> Missed:
        """Record the failure; return it with `only_row_changed` set."""

    async def wait_for_late_answers(self) -> None:
        """Wait until no late answer is expected."""

    async def take_back(self) -> set[str]:
        """Undo what doubtful answers stored; return the countries."""


class Judging(Protocol):
    """Decides how absent countries are recorded."""

    async def judge(self, absent: Sequence[FlagNotFound], *, codes: Collection[str], n_found: int) -> absence.Verdict:
        """Return an outcome per *absent* country, and the run's problem."""


@dataclass(slots=True)
class Countries:
    """The countries of one step.

    Attributes:
        source, store: recorded for unfetched countries.
        codes: set when the step begins.
    """

    refresher: Refreshing
    absence_judge: Judging
    asset_keys: Sequence[dg.AssetKey]
    source: str = ""
    store: str = ""
    codes: Sequence[str] = ()
    _not_found: dict[str, FlagNotFound] = field(default_factory=dict)
    _doubted: dict[str, FlagFailed] = field(default_factory=dict)

    async def fetch(self, code: str) -> Delivered | Absent | Failed:
        """Fetch one country."""
        outcome = await self.refresher.refresh(code)
        if isinstance(outcome, FlagSaved | FlagUnchanged):
            return delivered(outcome, self.asset_keys)
        if isinstance(outcome, FlagNotFound):
            self._not_found[code] = outcome
        return missed(outcome, source=self.source, store=self.store)

    async def revoke(self, is_complete: bool) -> set[str]:  # noqa: FBT001 - `Hooks.revoke`
        """Return the countries with doubtful answers, to fetch again."""
        if is_complete:
            await self.refresher.wait_for_late_answers()
        return await self.refresher.take_back()

    async def note_failure(self, failed: MissedPartition) -> MissedPartition:
        """Record a failure in the store."""
        return self._missed(await self.refresher.record_failure(self._doubted.get(failed.key) or _given_up(failed)))

    async def judge(self, absent: Sequence[MissedPartition], n_delivered: int) -> Verdict:
        """Decide how absent countries are recorded."""
        misses = [self._not_found[partition.key] for partition in absent]
        verdict = await self.absence_judge.judge(misses, codes=self.codes, n_found=n_delivered)
        self._doubted = {miss.code: miss for miss in verdict.outcomes if isinstance(miss, FlagFailed)}
        return Verdict([self._missed(miss) for miss in verdict.outcomes], verdict.problem)

    def _missed(self, miss: Missed) -> MissedPartition:
        return MissedPartition.of(miss.code, missed(miss, source=self.source, store=self.store))


def _given_up(partition: MissedPartition) -> FlagFailed:
    """Return the failure of a country stopped by a deadline, an interrupt or a bug."""
    kind, reason = ErrorKind.CONNECTION, partition.reason
    if partition.kind == ErrorKind.TIMEOUT:
        kind = ErrorKind.TIMEOUT
    elif partition.traceback:
        kind, reason = ErrorKind.UNEXPECTED, printable(f"{partition.kind}: {reason}")
        logger.error("unexpected error for %s:\n%s", partition.key, partition.traceback)
    return FlagFailed(partition.key, kind, reason, "", partition.attempts, FetchStatistics())
