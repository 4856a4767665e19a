"""What an asset may do at the edges of a step: take outcomes back, and decide on absent partitions at the end."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from flag_pipeline.isolation import Absent, Failed, Hooks, Limits, Missed, Outcome, Summary, Verdict
from flag_pipeline.isolation.concurrency import INTERRUPTED_KIND, TIMEOUT_KIND, for_each
from flag_pipeline.isolation.outcomes import Delivered, Ended

KEYS = ["a", "b", "c"]
LIMITS = Limits(max_concurrent=2)


class Step:
    """Partitions whose outcomes a test chooses, and what was settled.

    Attributes:
        outcomes: by key, those of its runs; the last one is that of all further runs. None never ends.
        revoked: keys to take back each time that the step asks; none when it is empty.
        asked: whether every partition had an outcome, each time that the step asked.
    """

    def __init__(self, **outcomes: Sequence[Absent | Failed | str | None]) -> None:
        self.outcomes = {key: list(outcomes.get(key, ["done"])) for key in KEYS}
        self.revoked: list[set[str]] = []
        self.asked: list[bool] = []
        self.settled: list[tuple[str, str]] = []
        self.summary = Summary(len(KEYS))

    async def run(self, key: str) -> Ended:
        """Run one partition."""
        outcomes = self.outcomes[key]
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        if outcome is None:
            await asyncio.Event().wait()
        if isinstance(outcome, Absent | Failed):
            return Missed.of(key, outcome, attempts=1)
        return Delivered(key, {}, is_unchanged=False, attempts=1)

    async def settle(self, ended: Ended) -> None:
        """Note the outcome."""
        self.summary.add(ended)
        self.settled.append((ended.key, str(ended.outcome)))

    async def revoke(self, is_complete: bool) -> set[str]:  # noqa: FBT001 - `Hooks.revoke`
        """Take back what the test says."""
        self.asked.append(is_complete)
        return self.revoked.pop(0) if self.revoked else set()


async def test_revoked_partitions_run_again_until_none_is_left() -> None:
    """Each is settled again, and its last outcome counts."""
    step = Step(b=[Failed("swapped"), "done"])
    step.revoked = [{"a", "b"}, {"b"}]

    await for_each(KEYS, step.run, step.settle, LIMITS, Hooks(revoke=step.revoke))

    assert sorted(step.settled) == [
        ("a", "succeeded"),
        ("a", "succeeded"),
        ("b", "failed"),
        ("b", "succeeded"),
        ("b", "succeeded"),
        ("c", "succeeded"),
    ]
    assert step.asked == [True, True, True, False]
    assert (step.summary.counts, step.summary.failed) == ({Outcome.SUCCEEDED: 3}, [])


async def test_what_is_revoked_at_the_deadline_fails() -> None:
    """There is no time to run it again."""
    step = Step(c=[None])
    step.revoked = [{"a", "c"}]

    await for_each(KEYS, step.run, step.settle, replace(LIMITS, step_timeout_s=0.05), Hooks(revoke=step.revoke))

    assert {missed.key: missed.kind for missed in step.summary.failed} == {"a": TIMEOUT_KIND, "c": TIMEOUT_KIND}


async def test_what_is_revoked_by_an_interrupt_fails_and_nothing_else() -> None:
    """A partition without an outcome has none after it either."""
    step = Step(b=[None], c=[None])
    step.revoked = [{"a", "b"}]
    noted: list[str] = []

    async def note_failure(missed: Missed) -> Missed:
        noted.append(missed.key)
        return missed

    hooks = Hooks(revoke=step.revoke, note_failure=note_failure)
    task = asyncio.create_task(for_each(KEYS, step.run, step.settle, LIMITS, hooks))
    while not step.settled:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert task.cancelled()
    assert step.settled == [("a", "succeeded"), ("a", "failed")]
    assert [missed.kind for missed in step.summary.failed] == [INTERRUPTED_KIND]
    assert noted == ["a"]


async def test_absent_partitions_are_judged_at_the_end() -> None:
    """The judge sees all of them and how many partitions were delivered; failures that it decides are noted."""
    step = Step(a=[Absent("gone")], c=[Absent("closed")])
    judged: list[tuple[list[str], int]] = []

    async def judge(absent: Sequence[Missed], n_delivered: int) -> Verdict:
        judged.append((sorted(missed.key for missed in absent), n_delivered))
        return Verdict(
            [replace(missed, outcome=Outcome.FAILED) if missed.key == "a" else missed for missed in absent],
            "the source has too little",
        )

    async def note_failure(missed: Missed) -> Missed:
        return replace(missed, kind="noted")

    problem = await for_each(KEYS, step.run, step.settle, LIMITS, Hooks(judge=judge, note_failure=note_failure))

    assert judged == [(["a", "c"], 1)]
    assert problem == "the source has too little"
    assert step.settled[0] == ("b", "succeeded")
    assert sorted(step.settled[1:]) == [("a", "failed"), ("c", "absent")]
    assert [missed.kind for missed in step.summary.failed] == ["noted"]


async def test_an_absence_that_is_revoked_is_not_judged() -> None:
    """The partition runs again, and is delivered."""
    step = Step(a=[Absent("swapped"), "done"])
    step.revoked = [{"a"}]

    async def judge(absent: Sequence[Missed], n_delivered: int) -> Verdict:
        raise AssertionError((absent, n_delivered))

    assert await for_each(KEYS, step.run, step.settle, LIMITS, Hooks(revoke=step.revoke, judge=judge)) == ""

    assert sorted(step.settled) == [(key, "succeeded") for key in KEYS]
