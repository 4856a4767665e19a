"""The boundary of a partition: whatever its function does stays its own."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from flag_pipeline.isolation.attempts import MAX_REASON_CHARS, PartitionRunner, as_kind
from flag_pipeline.isolation.concurrency import Limits
from flag_pipeline.isolation.outcomes import Assets, Delivered, Ended, Failed, Missed, ended

ASSETS = Assets((dg.AssetKey("asset"),))


class UnprintableError(Exception):
    """Has no text."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no text")


async def finish(key: str, returned: Any, attempt: int) -> Ended:
    """Make an outcome of what was returned."""
    return ended(key, returned, ASSETS, attempts=attempt)


async def run(raising: Callable[[], Any], **limits: Any) -> Ended:
    """Run one partition whose function does that."""

    async def call(_key: str) -> Any:
        return raising()

    return await PartitionRunner(call, finish, Limits(**limits)).run("k")


def raising(error: BaseException) -> Callable[[], Any]:
    """A function that raises *error*."""

    def function() -> Any:
        raise error

    return function


@pytest.mark.parametrize(
    ("error", "kind", "reason", "is_transient"),
    [
        (ValueError("no: text"), "ValueError", "no: text", True),
        (ValueError(), "ValueError", "ValueError", True),
        (UnprintableError(), "UnprintableError", "<exception str() failed>", True),
        (KeyError("k"), "KeyError", "'k'", True),
        (asyncio.CancelledError(), "CancelledError", "", True),
        (ExceptionGroup("two", [ValueError(), OSError()]), "ExceptionGroup", "two (2 sub-exceptions)", True),
        (dg.Failure("lasting", allow_retries=False), "Failure", "lasting", False),
        (dg.Failure("passing"), "Failure", "passing", True),
        (dg.Failure(), "Failure", "the function raised dg.Failure without a description", True),
        (dg.RetryRequested(max_retries=0), "RetryRequested", "", True),
    ],
)
async def test_an_exception_is_the_failure_of_its_partition(
    error: BaseException, kind: str, reason: str, *, is_transient: bool
) -> None:
    """Its class is the kind, its text the reason."""
    missed = await run(raising(error))

    assert isinstance(missed, Missed)
    assert (missed.kind, missed.is_transient, missed.attempts) == (kind, is_transient, 1)
    assert missed.reason == reason or not reason


async def test_the_traceback_is_kept_of_what_was_not_meant() -> None:
    """A `dg.Failure` needs no traceback."""
    unexpected, meant = await run(raising(ValueError("x"))), await run(raising(dg.Failure("x")))

    assert isinstance(unexpected, Missed)
    assert isinstance(meant, Missed)
    assert "test_attempts.py" in unexpected.traceback
    assert meant.traceback == ""


@pytest.mark.parametrize("is_noting_broken", [False, True])
async def test_what_the_function_raises_is_noted(*, is_noting_broken: bool) -> None:
    """`Hooks.note_failure` chooses the outcome; if it raises too, that costs only this partition."""
    noted: list[str] = []

    async def call(key: str) -> Any:
        if key == "returned":
            return Failed("known")
        raise ValueError("a bug")

    async def note_failure(missed: Missed) -> Missed:
        noted.append(missed.key)
        if is_noting_broken:
            raise OSError("nor can it be noted")
        return replace(missed, kind="noted", traceback="")

    runner = PartitionRunner(call, finish, Limits(), note_failure)
    returned, raised = await runner.run("returned"), await runner.run("raised")

    assert noted == ["raised"]
    assert isinstance(returned, Missed)
    assert isinstance(raised, Missed)
    assert (returned.kind, raised.kind) == ("failed", "OSError" if is_noting_broken else "noted")
    assert "ValueError: a bug" in raised.traceback
    assert ("nor can it be noted" in raised.traceback) is is_noting_broken


async def test_a_long_reason_is_cut() -> None:
    """The event log keeps it for ever."""
    missed = await run(raising(ValueError("x" * 5000)))

    assert isinstance(missed, Missed)
    assert len(missed.reason) == MAX_REASON_CHARS + 1


async def test_a_result_that_does_not_fit_is_the_failure_of_its_partition() -> None:
    """What is made of it is inside the boundary too."""
    missed = await run(dg.ObserveResult)

    assert isinstance(missed, Missed)
    assert missed.kind == "DagsterInvariantViolationError"


def test_interrupts_pass() -> None:
    """Ctrl-C is not a partition's failure."""

    async def call(_key: str) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(PartitionRunner(call, finish, Limits()).run("k"))


async def test_cancellation_from_outside_passes() -> None:
    """It ends the partition without an outcome."""

    async def call(_key: str) -> Any:
        await asyncio.Event().wait()

    task = asyncio.create_task(PartitionRunner(call, finish, Limits()).run("k"))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_of_the_function_is_not_that_of_the_limits() -> None:
    """The kind tells them apart."""
    own = await run(raising(TimeoutError("mine")), timeout_s=60)

    assert isinstance(own, Missed)
    assert (own.kind, own.reason) == ("TimeoutError", "mine")


async def test_waiting_for_the_next_attempt_holds_no_slot() -> None:
    """With one slot, a second partition is done while the first waits to retry."""
    second_done = asyncio.Event()
    attempts = 0

    async def call(key: str) -> Any:
        nonlocal attempts
        if key == "first":
            attempts += 1
            if attempts == 1:
                raise dg.RetryRequested(max_retries=1, seconds_to_wait=0.01)
            await second_done.wait()

    runner = PartitionRunner(call, finish, Limits(max_concurrent=1))
    first = asyncio.create_task(runner.run("first"))
    await asyncio.sleep(0)
    second = await runner.run("second")
    second_done.set()

    assert isinstance(second, Delivered)
    assert isinstance(await first, Delivered)


@pytest.mark.parametrize("word", ["plain", "<locals>.é x", "x" * 100])
def test_a_kind_is_a_tag_that_dagster_takes(word: str) -> None:
    """Other characters are replaced."""
    dg.AssetObservation("asset", partition="k", tags={"isolation/kind": as_kind(word)})
