"""Ctrl-C and a termination from Dagster's UI cancel the partitions that run on an event loop."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_cancel_task() -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM cancel the current task, so that what it owns is closed in order.

    The cancelled block raises KeyboardInterrupt with the signal's name. Threads other than the main one get no
    signals: there the block changes nothing.
    """
    task = asyncio.current_task()
    if task is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    received = ""

    def cancel(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received = signal.Signals(number).name
        loop.call_soon_threadsafe(task.cancel)

    before = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except asyncio.CancelledError:
        if received:
            raise KeyboardInterrupt(received) from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
