"""Ctrl-C and a termination from Dagster's UI cancel the partitions on an event loop."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_cancel_task() -> Iterator[None]:
    """Let SIGINT and SIGTERM cancel the current task, so that it closes what it owns.

    The block then raises KeyboardInterrupt with the signal's name. Outside the main thread it changes nothing.
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
