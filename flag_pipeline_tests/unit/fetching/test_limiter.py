"""the limiter and the circuit breaker: how many at once, and when to stop."""

import asyncio

import pytest

from flag_pipeline.fetching.circuit_breaker import CircuitBreaker
from flag_pipeline.fetching.limiter import FIRST_PAUSE_S, RequestLimiter


async def pass_through(limiter: RequestLimiter, n_requests: int, *, stays_open: bool) -> list[int]:
    """Send requests that are answered in the order they went through; return how many were inside at each answer."""
    inside: list[asyncio.Future[None]] = []
    widths: list[int] = []

    async def request() -> None:
        async with limiter.slot():
            answered = asyncio.get_running_loop().create_future()
            inside.append(answered)
            await answered
            if stays_open:
                limiter.widen()

    async with asyncio.TaskGroup() as group:
        for _ in range(n_requests):
            group.create_task(request())
        for _ in range(n_requests):
            # Three rounds of the loop: out of the slot, the next one in, and its future made.
            for _ in range(3):
                await asyncio.sleep(0)
            widths.append(len(inside))
            inside.pop(0).set_result(None)
    return widths


async def test_few_requests_first_and_twice_as_many_each_round_trip() -> None:
    """Six at first; after six answers twelve, after twelve more the bound."""
    widths = await pass_through(RequestLimiter(first=6, most=20), 120, stays_open=True)

    assert widths[0] == 6
    assert 10 <= widths[6] <= 12
    assert 18 <= widths[18] <= 20
    assert max(widths) == 20


async def test_server_that_closes_connections_is_never_asked_for_more() -> None:
    """Each request needs a connection of its own there, and its backlog may be short."""
    widths = await pass_through(RequestLimiter(first=6, most=20), 60, stays_open=False)

    assert max(widths) == 6


async def test_first_is_at_most_most() -> None:
    """One request at a time means one."""
    widths = await pass_through(RequestLimiter(first=6, most=1), 10, stays_open=True)

    assert max(widths) == 1


async def test_slot_is_free_again_after_a_failure() -> None:
    """However the attempt ends."""
    limiter = RequestLimiter(first=1, most=1)
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error):
            async with limiter.slot():
                raise error

    async with asyncio.timeout(1), limiter.slot():
        pass


async def test_pause_holds_everybody_and_the_longest_counts() -> None:
    """A shorter pause does not shorten a longer one."""
    limiter, loop = RequestLimiter(first=9, most=9), asyncio.get_running_loop()
    begun_at = loop.time()
    limiter.pause(0.05)
    limiter.pause(0.01)

    async with limiter.slot():
        first_at = loop.time()
    async with limiter.slot():
        second_at = loop.time()

    assert first_at - begun_at >= 0.05
    assert second_at >= first_at


async def test_circuit_opens_when_connections_failed_for_long_enough() -> None:
    """The first failure opens nothing; one that took as long as the limit does."""
    breaker, now = CircuitBreaker(down_after_s=100), asyncio.get_running_loop().time()

    pause_s = breaker.failed(now)
    assert (breaker.is_open, pause_s) == (False, FIRST_PAUSE_S)
    pause_s = breaker.failed(now - 40)
    assert (breaker.is_open, round(pause_s)) == (False, 40)
    pause_s = breaker.failed(now - 70)
    assert (breaker.is_open, round(pause_s)) == (False, 30)
    pause_s = breaker.failed(now - 101)
    assert (breaker.is_open, pause_s) == (True, 0)


async def test_answer_ends_the_count() -> None:
    """What failed before it counts no longer."""
    breaker, loop = CircuitBreaker(down_after_s=100), asyncio.get_running_loop()
    breaker.failed(loop.time() - 99)
    assert not breaker.has_answered

    breaker.answered()
    breaker.failed(loop.time())

    assert breaker.has_answered
    assert not breaker.is_open


async def test_attempt_during_which_somebody_was_answered_proves_nothing() -> None:
    """However long it took; one that began after the answer does."""
    breaker, loop = CircuitBreaker(down_after_s=0), asyncio.get_running_loop()
    began_at = loop.time()
    breaker.answered()

    breaker.failed(began_at - 500)
    assert not breaker.is_open

    breaker.failed(loop.time())
    assert breaker.is_open
