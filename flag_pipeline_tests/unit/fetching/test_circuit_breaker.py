"""The circuit breaker: when requests to a host are stopped."""

import asyncio

from flag_pipeline.fetching.circuit_breaker import FIRST_PAUSE_S, CircuitBreaker


async def test_circuit_opens_when_connections_failed_for_long_enough() -> None:
    """The first failures cause pauses; one that took longer than the limit opens the circuit breaker."""
    breaker, now = CircuitBreaker(down_after_s=100), asyncio.get_running_loop().time()

    pause_s = breaker.record_failure(now)
    assert (breaker.is_open, pause_s) == (False, FIRST_PAUSE_S)
    pause_s = breaker.record_failure(now - 40)
    assert (breaker.is_open, round(pause_s)) == (False, 40)
    pause_s = breaker.record_failure(now - 70)
    assert (breaker.is_open, round(pause_s)) == (False, 30)
    pause_s = breaker.record_failure(now - 101)
    assert (breaker.is_open, pause_s) == (True, 0)


async def test_answer_ends_the_count() -> None:
    """Failures before an answer no longer count."""
    breaker, loop = CircuitBreaker(down_after_s=100), asyncio.get_running_loop()
    breaker.record_failure(loop.time() - 99)
    assert not breaker.has_answered

    breaker.record_answer()
    breaker.record_failure(loop.time())

    assert breaker.has_answered
    assert not breaker.is_open


async def test_attempt_that_began_before_an_answer_does_not_count() -> None:
    """Only an attempt that began after the answer can open the circuit breaker."""
    breaker, loop = CircuitBreaker(down_after_s=0), asyncio.get_running_loop()
    began_at = loop.time()
    breaker.record_answer()

    breaker.record_failure(began_at - 500)
    assert not breaker.is_open

    breaker.record_failure(loop.time())
    assert breaker.is_open
