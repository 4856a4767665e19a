"""Whether a source is believed that lacks countries: one that suddenly has nothing is a failure, not an answer."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

from flag_pipeline.core.listing import list_store
from flag_pipeline.core.models import FlagFailed, FlagNotFound, FlagRecord, Missed
from flag_pipeline.core.refresh import Refresher
from flag_pipeline.errors import ErrorKind, SinkError

# So few flags may be lost at once whatever share of the store they are.
FEW = 3
# Every source of the world's flags has these; when nothing was found, they show whether the source has anything.
WELL_KNOWN = ("US", "CN", "FR")
ASKING_S = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sweep's not-found countries are recorded as.

    Attributes:
        outcomes: one for each of them; those that are not believed have failed, with kind `unavailable`.
        problem: why the run fails although none of them has failed, else empty.
    """

    outcomes: Sequence[Missed]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class AbsenceJudge:
    """Judges the countries of one run that the source does not have.

    Attributes:
        known_absent: returns those of the given codes that were known to be absent before the run.
        max_lost_share: share of the flags in the store that the source may suddenly lack.
    """

    refresher: Refresher
    known_absent: Callable[[Collection[str]], Awaitable[Collection[str]]]
    max_lost_share: float

    async def judge(self, absent: Sequence[FlagNotFound], *, codes: Collection[str], n_found: int) -> Verdict:
        """Return what is recorded of the *absent* ones of *codes*, when the source had *n_found* of the others."""
        known = await self.known_absent([miss.code for miss in absent])
        new = sorted((miss for miss in absent if miss.code not in known), key=lambda miss: miss.code)
        if not new:
            return Verdict(absent)
        lost = await self._with_flag(new)
        if n_found == 0:
            return await self._judge_nothing(absent, new, lost, codes)
        if len(lost) <= FEW:
            return Verdict(absent)
        n_flags = len((await asyncio.to_thread(list_store, self.refresher.sink.root)).flags)
        if len(lost) <= self.max_lost_share * n_flags:
            return Verdict(absent)
        problem = (
            f"the source suddenly lacks {len(lost)} of {n_flags} stored flags; try {new[0].url}, and if they are gone"
            " for good, raise FLAG_MAX_LOST_SHARE"
        )
        return Verdict(_doubted(absent, lost, problem))

    async def _judge_nothing(
        self, absent: Sequence[FlagNotFound], new: Sequence[FlagNotFound], lost: Collection[str], codes: Collection[str]
    ) -> Verdict:
        """Judge a run that found none of *codes*; *new* are absent for the first time, *lost* have a stored flag."""
        asked_for = "the country" if len(codes) == 1 else f"any of the {len(codes)} countries"
        problem = f"the source does not have {asked_for} that the run asked for; try {new[0].url}"
        if not await self._has_others(codes):
            lost = {miss.code for miss in new}
        if lost:
            return Verdict(_doubted(absent, lost, problem))
        # A single country that a source lacks is an answer, as long as the source has others.
        return Verdict(absent, problem if len(codes) > 1 else "")

    async def _with_flag(self, misses: Sequence[FlagNotFound]) -> set[str]:
        """Return the codes of those that have a good flag in the store."""
        records = await asyncio.gather(*(self._record_of(miss.code) for miss in misses))
        return {record.code for record in records if record.image is not None}

    async def _record_of(self, code: str) -> FlagRecord:
        # A record that the store refuses costs its own country, not the verdict on the others.
        with suppress(SinkError):
            return (await self.refresher.sink.load(code)).record
        return FlagRecord(code)

    async def _has_others(self, codes: Collection[str]) -> bool:
        """Whether the source has one of the well-known countries that the run did not ask for."""
        lacks = self.refresher.source.preset.lacks
        with suppress(TimeoutError):
            async with asyncio.timeout(ASKING_S):
                for code in WELL_KNOWN:
                    if code not in codes and code not in lacks and await self.refresher.has(code):
                        return True
        return False


def _doubted(absent: Sequence[FlagNotFound], codes: Collection[str], problem: str) -> list[Missed]:
    """Return what is recorded of the absent ones when those of *codes* are not believed."""
    return [_failed(miss, problem) if miss.code in codes else miss for miss in absent]


def _failed(miss: FlagNotFound, problem: str) -> FlagFailed:
    return FlagFailed(miss.code, ErrorKind.UNAVAILABLE, problem, miss.url, miss.attempts, miss.statistics)
