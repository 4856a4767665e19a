"""The limiter: how many requests are sent at once, and pauses."""

import asyncio

import pytest

from flag_pipeline.fetching.limiter import RequestLimiter


async def pass_through(limiter: RequestLimiter, n_requests: int, *, stays_open: bool) -> list[int]:
    """Send requests, answer them in order, and return how many were pending at each answer."""
    inside: list[asyncio.Future[None]] = []
    widths: list[int] = []

    async def request() -> None:
        async with limiter:
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
    """Six requests are sent at first, twelve after six answers, and the maximum after twelve more."""
    widths = await pass_through(RequestLimiter(first_requests=6, max_requests=20), 120, stays_open=True)

    assert widths[0] == 6
    assert 10 <= widths[6] <= 12
    assert 18 <= widths[18] <= 20
    assert max(widths) == 20


async def test_server_that_closes_connections_is_never_asked_for_more() -> None:
    """Each request needs a new connection there, and its backlog may be short."""
    widths = await pass_through(RequestLimiter(first_requests=6, max_requests=20), 60, stays_open=False)

    assert max(widths) == 6


async def test_first_is_at_most_most() -> None:
    """A maximum of one request also limits the first requests."""
    widths = await pass_through(RequestLimiter(first_requests=6, max_requests=1), 10, stays_open=True)

    assert max(widths) == 1


async def test_slot_is_free_again_after_a_failure() -> None:
    """The slot is released when the attempt fails and when it is cancelled."""
    limiter = RequestLimiter(first_requests=1, max_requests=1)
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error):
            async with limiter:
                raise error

    async with asyncio.timeout(1), limiter:
        pass


async def test_slot_is_free_again_if_the_wait_for_a_pause_is_cancelled() -> None:
    """Else each country that is given up during a pause would cost a slot."""
    limiter = RequestLimiter(first_requests=1, max_requests=1)
    limiter.pause(0.1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), limiter:
            pass

    async with asyncio.timeout(5), limiter:
        pass


async def test_pause_holds_all_requests_and_the_longest_counts() -> None:
    """A shorter pause does not shorten a longer one."""
    limiter, loop = RequestLimiter(first_requests=9, max_requests=9), asyncio.get_running_loop()
    begun_at = loop.time()
    limiter.pause(0.05)
    limiter.pause(0.01)

    async with limiter:
        first_at = loop.time()
    async with limiter:
        second_at = loop.time()

    assert first_at - begun_at >= 0.05
    assert second_at >= first_at
