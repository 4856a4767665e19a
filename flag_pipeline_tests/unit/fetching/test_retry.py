"""The retry policy, tested with a clock that does not wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flag_pipeline.errors import ErrorKind, FlagNotFoundError, SourceError, TransientSourceError
from flag_pipeline.fetching.retry import Attempt, RetryPolicy
from flag_pipeline.settings import load_settings

POLICY = RetryPolicy(attempts=4, initial_s=1.0, max_s=3.0, total_s=60.0, retry_after_max_s=30.0)


class Attempts:
    """Fails with each of *errors* in turn, then returns 42; records the waits between calls."""

    def __init__(self, *errors: SourceError) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.waits: list[float] = []
        self.tries: list[Attempt] = []

    async def __call__(self, this: Attempt) -> int:
        """Fail or succeed once."""
        self.calls += 1
        self.tries.append(this)
        if self.errors:
            raise self.errors.pop(0)
        return 42

    async def sleep(self, wait_s: float) -> None:
        """Record the wait instead of waiting."""
        self.waits.append(wait_s)


def busy(retry_after_s: float | None = None) -> TransientSourceError:
    """Return a transient error."""
    return TransientSourceError("busy", code="CN", url="u", kind=ErrorKind.THROTTLED, retry_after_s=retry_after_s)


async def test_transient_failures_are_tried_again() -> None:
    """The waits are random, up to 1, 2 and then 3 seconds."""
    attempts = Attempts(busy(), busy(), busy())

    assert await POLICY.call(attempts, sleep=attempts.sleep) == 42

    assert attempts.calls == 4
    assert all(0 <= wait_s <= most_s for wait_s, most_s in zip(attempts.waits, (1, 2, 3), strict=True))


async def test_last_failure_leaves_with_the_number_of_attempts() -> None:
    """After four attempts the error is raised."""
    attempts = Attempts(*[busy() for _ in range(9)])

    with pytest.raises(TransientSourceError) as caught:
        await POLICY.call(attempts, sleep=attempts.sleep)

    assert (attempts.calls, caught.value.attempts) == (4, 4)


async def test_lasting_failure_is_not_retried_but_counted() -> None:
    """A 404 after a transient error ends the retries, and both requests count."""
    attempts = Attempts(busy(), FlagNotFoundError("none", code="CN", url="u"))

    with pytest.raises(FlagNotFoundError) as caught:
        await POLICY.call(attempts, sleep=attempts.sleep)

    assert (attempts.calls, caught.value.attempts) == (2, 2)


async def test_a_bug_is_not_retried() -> None:
    """An exception that is no SourceError is raised unchanged."""
    attempts = Attempts()
    attempts.errors = [ValueError("bug")]  # type: ignore[list-item]

    with pytest.raises(ValueError, match="bug"):
        await POLICY.call(attempts, sleep=attempts.sleep)

    assert attempts.calls == 1


@pytest.mark.parametrize(("asked_s", "waited_s"), [(7.0, 7.0), (0.0, 0.0), (3600.0, 30.0), (float("inf"), 30.0)])
async def test_server_hint_replaces_the_back_off(asked_s: float, waited_s: float) -> None:
    """Retry-After is obeyed to the second, up to its cap."""
    attempts = Attempts(busy(asked_s))

    await POLICY.call(attempts, sleep=attempts.sleep)

    assert attempts.waits == [waited_s]


async def test_total_time_ends_it_too() -> None:
    """A wait that would end after the total time does not begin."""
    policy = RetryPolicy(attempts=9, initial_s=1, max_s=3, total_s=20, retry_after_max_s=30)
    attempts = Attempts(busy(25))

    with pytest.raises(TransientSourceError):
        await policy.call(attempts, sleep=attempts.sleep)

    assert attempts.waits == []


async def test_waits_are_taken_off_the_time_of_the_next_attempt() -> None:
    """After 7 and 20 seconds of the server's hints, 60 seconds have become less than 33; each error is passed on."""
    attempts = Attempts(busy(7), busy(20))

    await POLICY.call(attempts, sleep=attempts.sleep)

    first, second, third = attempts.tries
    assert (first.left_s, first.last) == (60, None)
    assert 52 < second.left_s <= 53
    assert 32 < third.left_s <= 33
    assert third.last is not None
    assert third.last.retry_after_s == 20


async def test_waiting_for_a_turn_costs_no_time() -> None:
    """The clock stands still in the tests' waits, so only waiting for a turn could reduce the time."""
    attempts = Attempts(busy(0))

    @asynccontextmanager
    async def late() -> AsyncIterator[None]:
        await asyncio.sleep(0.05)
        yield

    policy = RetryPolicy(attempts=2, initial_s=1, max_s=3, total_s=0.05, retry_after_max_s=30)

    assert await policy.call(attempts, turn=late, sleep=attempts.sleep) == 42


async def test_each_attempt_has_a_turn_of_its_own() -> None:
    """Each attempt releases its turn before the wait, so that other requests can be sent."""
    attempts, turns = Attempts(busy(), busy()), list[str]()

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        turns.append("taken")
        try:
            yield
        finally:
            turns.append("given back")

    async def sleep(_wait_s: float) -> None:
        turns.append("wait")

    assert await POLICY.call(attempts, turn=turn, sleep=sleep) == 42

    assert turns == ["taken", "given back", "wait"] * 2 + ["taken", "given back"]


def test_policy_is_what_the_settings_say() -> None:
    """Each limit has a setting."""
    policy = RetryPolicy.from_settings(load_settings(attempts=2, retry_initial_s=0.5, retry_max_s=4, retry_total_s=9))

    assert policy == RetryPolicy(2, 0.5, 4, 9, 30)
