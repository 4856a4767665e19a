"""Decides whether countries not found are absent, or the source has failed."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from flag_pipeline.core.listing import list_store
from flag_pipeline.core.models import FlagFailed, FlagNotFound, FlagRecord, Missed
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.errors import ErrorKind, SinkError

# Allowed whatever their share of the store.
ALWAYS_ALLOWED_LOSSES = 3
# Every source has these, so they show whether it has anything.
WELL_KNOWN = ("US", "CN", "FR")
PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcomes of countries that were not found.

    Attributes:
        problem: why the run fails although no country failed.
    """

    outcomes: Sequence[Missed]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class AbsenceJudge:
    """Judges the countries that one run did not find.

    Attributes:
        known_absent: returns the codes that were absent before.
        max_lost_share: share of the stored flags, 0 to 1.
    """

    refresher: Refresher
    known_absent: Callable[[Collection[str]], Awaitable[Collection[str]]]
    max_lost_share: float

    async def judge(self, absent: Sequence[FlagNotFound], *, codes: Collection[str], n_found: int) -> Verdict:
        """Return the outcomes of the *absent* countries; *n_found* others were found."""
        already_absent = await self.known_absent([missed.code for missed in absent])
        new = sorted((missed for missed in absent if missed.code not in already_absent), key=lambda missed: missed.code)
        if not new:
            return Verdict(absent)
        lost = await self._with_flag(new)
        if n_found == 0:
            return await self._judge_nothing(absent, new, lost, codes)
        if len(lost) <= ALWAYS_ALLOWED_LOSSES:
            return Verdict(absent)
        n_flags = len((await asyncio.to_thread(list_store, self.refresher.sink.root)).flags)
        if len(lost) <= self.max_lost_share * n_flags:
            return Verdict(absent)
        problem = (
            f"the source suddenly lacks {len(lost)} of {n_flags} stored flags; try {new[0].url}, and if they are gone"
            " permanently, raise FLAG_MAX_LOST_SHARE"
        )
        return Verdict(_failing(absent, lost, problem))

    async def _judge_nothing(
        self, absent: Sequence[FlagNotFound], new: Sequence[FlagNotFound], lost: Collection[str], codes: Collection[str]
    ) -> Verdict:
        asked_for = "the country" if len(codes) == 1 else f"any of the {len(codes)} countries"
        problem = f"the source does not have {asked_for} that the run asked for; try {new[0].url}"
        if not await self._has_others(codes):
            lost = {missed.code for missed in new}
        if lost:
            return Verdict(_failing(absent, lost, problem))
        # If the source has other countries, this one is absent.
        return Verdict(absent, problem if len(codes) > 1 else "")

    async def _with_flag(self, countries: Sequence[FlagNotFound]) -> set[str]:
        records = await asyncio.gather(*(self._record_of(missed.code) for missed in countries))
        return {record.code for record in records if record.image is not None}

    async def _record_of(self, code: str) -> FlagRecord:
        # An unreadable record must not affect other countries.
        with suppress(SinkError):
            return (await self.refresher.sink.load(code)).record
        return FlagRecord(code)

    async def _has_others(self, codes: Collection[str]) -> bool:
        lacks = self.refresher.source.preset.lacks
        with suppress(TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                for code in WELL_KNOWN:
                    if code not in codes and code not in lacks and await self.refresher.has(code):
                        return True
        return False


def _failing(absent: Sequence[FlagNotFound], codes: Collection[str], problem: str) -> list[Missed]:
    return [_failed(missed, problem) if missed.code in codes else missed for missed in absent]


def _failed(missed: FlagNotFound, problem: str) -> FlagFailed:
    return FlagFailed(missed.code, ErrorKind.UNAVAILABLE, problem, missed.url, missed.attempts, missed.statistics)
