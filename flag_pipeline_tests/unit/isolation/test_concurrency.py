"""Many partitions at once: bounded, one outcome each, within a deadline."""

import asyncio
from contextlib import suppress
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation.concurrency import IN_PROGRESS, Limits, for_each
from flag_pipeline.isolation.hooks import Hooks
from flag_pipeline.isolation.outcomes import Delivered, Ended, Missed, Outcome

KEYS = [f"k{number}" for number in range(10)]


def delivered(key: str) -> Delivered:
    """An outcome."""
    return Delivered(key, {}, is_unchanged=False, attempts=1)


async def test_each_key_is_settled_once() -> None:
    """A key that is asked for twice is settled once."""
    settled: list[str] = []

    async def run(key: str) -> Ended:
        await asyncio.sleep(0)
        return delivered(key)

    async def settle(ended: Ended) -> None:
        settled.append(ended.key)

    await for_each([*KEYS, *KEYS], run, settle, Limits(max_concurrent=3))

    assert sorted(settled) == KEYS


async def test_partitions_in_progress_are_bounded() -> None:
    """Twice as many as may be called at once, and no task for the others."""
    limits = Limits(max_concurrent=2)
    in_progress = peak = 0

    async def run(key: str) -> Ended:
        nonlocal in_progress, peak
        in_progress += 1
        peak = max(peak, in_progress)
        for _ in range(5):
            await asyncio.sleep(0)
        in_progress -= 1
        return delivered(key)

    async def settle(_ended: Ended) -> None:
        pass

    await for_each(KEYS, run, settle, limits)

    assert peak == IN_PROGRESS * limits.max_concurrent


async def test_the_deadline_may_have_another_outcome() -> None:
    """`Hooks.note_failure` is asked for each that is not done; one that does not answer gets the default."""
    settled: dict[str, Ended] = {}

    async def run(_key: str) -> Ended:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async def settle(ended: Ended) -> None:
        settled[ended.key] = ended

    async def note_failure(missed: Missed) -> Missed:
        return Missed(missed.key, Outcome.FAILED, "noted", "late", is_transient=False, attempts=0)

    hooks = Hooks(note_failure=note_failure)
    await for_each(KEYS, run, settle, Limits(max_concurrent=1, step_timeout_s=0.01), hooks)
    assert {ended.reason for ended in settled.values() if isinstance(ended, Missed)} == {"noted"}

    await for_each(KEYS, run, settle, Limits(max_concurrent=1, step_timeout_s=0.01))
    reasons = {ended.reason for ended in settled.values() if isinstance(ended, Missed)}
    assert reasons == {"the step was ended after 0.01 s, before this partition was done"}


async def test_an_error_of_settling_ends_all() -> None:
    """What has not begun is not begun."""
    begun: list[str] = []

    async def run(key: str) -> Ended:
        begun.append(key)
        await asyncio.sleep(0)
        return delivered(key)

    async def settle(_ended: Ended) -> None:
        raise OSError("disk full")

    with pytest.raises(ExceptionGroup):
        await for_each(KEYS, run, settle, Limits(max_concurrent=1))

    assert len(begun) <= IN_PROGRESS + 1


async def test_a_cancelled_step_settles_nothing_more() -> None:
    """It does not wait for partitions in progress."""
    settled: list[str] = []

    async def run(key: str) -> Ended:
        if key != "k0":
            await asyncio.Event().wait()
        return delivered(key)

    async def settle(ended: Ended) -> None:
        settled.append(ended.key)

    task = asyncio.create_task(for_each(KEYS, run, settle, Limits(max_concurrent=5)))
    while not settled:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    assert settled == ["k0"]
    assert task.cancelled()


@pytest.mark.parametrize("number", [0, -1])
def test_a_limit_that_would_run_nothing_is_refused(number: Any) -> None:
    """When it is defined, not in the run."""
    with pytest.raises(dg.DagsterInvalidDefinitionError, match="at least 1"):
        Limits(max_concurrent=number)
