"""Which failed countries are fetched again, and when. Pure: the sensor brings the facts and carries out the plan."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from flag_pipeline.defs.commands import fetch_command
from flag_pipeline.defs.ledger import RecordedMiss
from flag_pipeline.defs.source_guard import may_fetch_from
from flag_pipeline.settings import Settings

NAMED = 20


@dataclass(frozen=True, slots=True)
class HealingPolicy:
    """How patiently failures are healed.

    Before attempt *n* + 1 a country waits `delay_s * 2 ** n` seconds from its latest failure; after `attempts` it is
    left alone until something else fetches it.
    """

    attempts: int
    delay_s: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "HealingPolicy":
        """The policy that *settings* describe."""
        return cls(attempts=settings.heal_attempts, delay_s=settings.heal_delay_s)


@dataclass(frozen=True, slots=True)
class HealingPlan:
    """What a tick decided.

    Attributes:
        codes: countries to fetch now, sorted; empty for none.
        attempts: how often each country that still fails has been fetched again, these included.
        key: the same for the same attempt at the same failures.
        explanation: why the others, or all, are left alone.
    """

    codes: list[str]
    attempts: dict[str, int]
    key: str
    explanation: str


def plan_healing(
    failed: Mapping[str, RecordedMiss], attempts: Mapping[str, int], policy: HealingPolicy, *, now: float
) -> HealingPlan:
    """Return what to fetch again at *now* (seconds since the epoch) of what *failed*.

    Countries that are nearly due go along with those that are due: failures of one run, recorded seconds apart, are
    healed by one run.
    """
    done = {code: attempts.get(code, 0) for code in failed}
    lasting = sorted(code for code, miss in failed.items() if not miss.kind.is_transient)
    exhausted = sorted(code for code in failed if code not in lasting and done[code] >= policy.attempts)
    candidates = failed.keys() - {*lasting, *exhausted}
    due_at = {code: failed[code].at + policy.delay_s * 2 ** done[code] for code in candidates}
    is_due = any(at <= now for at in due_at.values())
    codes = sorted(code for code, at in due_at.items() if is_due and at <= now + policy.delay_s)
    return HealingPlan(
        codes=codes,
        attempts={code: number + (code in codes) for code, number in sorted(done.items()) if number or code in codes},
        key=_key({code: (failed[code].storage_id, done[code]) for code in codes}),
        explanation=_explain(lasting, exhausted, waiting=sorted(candidates - set(codes))),
    )


def failed_elsewhere(failed: Mapping[str, RecordedMiss], *, source: str, store: str) -> dict[str, RecordedMiss]:
    """Return those that were asked for at another source, or for another store, than this deployment's."""
    return {
        code: miss
        for code, miss in failed.items()
        if not may_fetch_from(miss.source, source) or miss.store not in {"", store}
    }


def explain_elsewhere(elsewhere: Mapping[str, RecordedMiss], *, store: str) -> str:
    """Return which countries are left alone because of where they were asked for, with the commands that fetch them."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for code, miss in sorted(elsewhere.items()):
        groups[miss.source, miss.store].append(code)
    commands = [
        fetch_command("run", codes, source=source, store="" if other == store else other)
        for (source, other), codes in groups.items()
    ]
    if not commands:
        return ""
    return "Asked for at another source, or for another store, than this deployment's; run: " + "; ".join(commands)


def _key(attempted: Mapping[str, tuple[int, int]]) -> str:
    # Of the failure alone, a run that ended without recording anything would have been the last one: Dagster starts
    # no other run of the same key.
    text = " ".join(f"{code}:{storage_id}:{done}" for code, (storage_id, done) in sorted(attempted.items()))
    return f"heal-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _explain(lasting: list[str], exhausted: list[str], *, waiting: list[str]) -> str:
    reasons = (
        ("Waiting before the next attempt", waiting),
        ("Given up after the last attempt, redo them by hand", exhausted),
        ("Failed for a reason that does not pass by itself, see their observations", lasting),
    )
    said = [f"{reason}: {_some(codes)}." for reason, codes in reasons if codes]
    return " ".join(said) or "No country has failed."


def _some(codes: list[str]) -> str:
    more = f" and {len(codes) - NAMED} more" if len(codes) > NAMED else ""
    return f"{' '.join(codes[:NAMED])}{more}"
