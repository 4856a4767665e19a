"""Ctrl-C on an event loop that somebody else drives."""

import asyncio
import signal
import threading

import pytest

from flag_pipeline.core.interrupt import interrupts_cancel_task


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_cancels_the_task_and_says_which(number: signal.Signals) -> None:
    """What the task owns is undone first, and the handlers are as before afterwards."""
    before, undone = signal.getsignal(number), False

    with pytest.raises(KeyboardInterrupt) as caught, interrupts_cancel_task():  # noqa: PT012 - the block is the test
        signal.raise_signal(number)
        try:
            await asyncio.Event().wait()
        finally:
            undone = True

    assert (caught.value.args, undone) == ((number.name,), True)
    assert signal.getsignal(number) is before


async def test_cancellation_by_others_stays_one() -> None:
    """Without a signal it passes."""

    async def wait() -> None:
        with interrupts_cancel_task():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def test_other_threads_get_no_signals() -> None:
    """There the block runs as it is."""
    results: list[int] = []

    async def work() -> None:
        with interrupts_cancel_task():
            results.append(1)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join()

    assert results == [1]
