"""Ctrl-C for code that runs on an event loop somebody else drives."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupts_cancel_task() -> Iterator[None]:
    """Inside the block, SIGINT and SIGTERM cancel the running task instead of raising wherever the loop happens to be.

    What the task owns is then undone in order. The cancelled block raises KeyboardInterrupt with the signal's name.
    Outside the main thread, which gets no signals, nothing changes.
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
