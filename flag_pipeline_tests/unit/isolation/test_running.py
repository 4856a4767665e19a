"""A step whose thread already runs an event loop."""

import asyncio
import signal
import threading

import pytest

from flag_pipeline.isolation.running import _run_on_thread


def test_an_interrupt_cancels_what_runs_beside() -> None:
    """Where the thread of the step has a running loop, the partitions run on another: Ctrl-C must reach them."""
    ended: list[str] = []
    main = threading.main_thread().ident
    assert main is not None

    async def run() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        _run_on_thread(run)

    assert ended == ["cancelled"]
