"""The decoder threads: there are few, they can be closed, and the process does not wait for them."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.presets import ANY_FORMAT
from flag_pipeline.images.decoder import MAX_THREADS, Decoder, default_threads
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.structure import Limits
from flag_pipeline_tests.samples import gif, picture


def decoder_threads() -> list[threading.Thread]:
    """The threads of all decoders."""
    return [thread for thread in threading.enumerate() if thread.name == "flag-decoder"]


async def test_work_is_done_in_order_on_one_thread_of_its_own() -> None:
    """The results and the exceptions of work reach their callers."""
    threads: list[threading.Thread] = []

    def work(number: int) -> Callable[[], int]:
        def do() -> int:
            threads.append(threading.current_thread())
            return 6 // number

        return do

    with Decoder(threads=1) as decoder:
        results = await asyncio.gather(*(decoder.run(work(number)) for number in (3, 0, 2)), return_exceptions=True)

    assert [results[0], results[2]] == [2, 3]
    assert isinstance(results[1], ZeroDivisionError)
    assert len(set(threads)) == 1
    assert threads[0].daemon
    assert threads[0] is not threading.main_thread()


async def test_closing_waits_for_nothing_and_drops_what_waits() -> None:
    """The thread finishes its current work, waiting work is cancelled, and the thread ends."""
    begun, may_end, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        may_end.wait()

    with Decoder(threads=1) as decoder:
        running = asyncio.create_task(decoder.run(slow))
        waiting = asyncio.create_task(decoder.run(lambda: done.append("never")))
        await asyncio.to_thread(begun.wait)
        [thread] = decoder_threads()

    assert not running.done()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="closed"):
        await decoder.run(print)
    may_end.set()
    await running
    await asyncio.to_thread(thread.join)
    assert done == []


async def test_more_threads_do_what_waits_at_once() -> None:
    """Work for three threads meets at a barrier; all of them end with the decoder."""
    barrier = threading.Barrier(3, timeout=20)

    with Decoder(threads=3) as decoder:
        await asyncio.gather(*(decoder.run(barrier.wait) for _ in range(6)))
        threads = decoder_threads()

    assert len(threads) == 3
    for thread in threads:
        await asyncio.to_thread(thread.join)


def test_one_processor_is_left_to_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one thread at least, and never more than memory has room for."""
    for n_processors, n_threads in ((1, 1), (2, 1), (3, 2), (64, MAX_THREADS)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, n=n_processors: set(range(n)), raising=False)
        assert default_threads() == n_threads
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_threads() == 1


async def test_threads_derive_the_same() -> None:
    """Records, thumbnails and refusals are equal byte for byte with one thread and with four."""
    contents = [*map(gif, iso_codes()[:40]), picture("PNG"), picture("WEBP", frames=3), b"damaged"]

    async def derive(n_threads: int) -> list[str]:
        with Decoder(threads=n_threads) as decoder:
            inspections = (partial(inspect_image, each, formats=ANY_FORMAT, limits=Limits()) for each in contents)
            derived = await asyncio.gather(*map(decoder.run, inspections), return_exceptions=True)
        return [repr(each) for each in derived]

    assert await derive(1) == await derive(4)


async def test_work_that_its_caller_gave_up_is_not_begun() -> None:
    """The next result is not affected."""
    begun, may_end, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        may_end.wait()

    with Decoder(threads=1) as decoder:
        first = asyncio.create_task(decoder.run(slow))
        await asyncio.to_thread(begun.wait)
        given_up = asyncio.create_task(decoder.run(lambda: done.append("given up")))
        kept = asyncio.create_task(decoder.run(lambda: done.append("kept")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        may_end.set()
        await asyncio.gather(first, kept)

    assert done == ["kept"]


async def test_decoder_that_nothing_refers_to_ends_its_thread() -> None:
    """A decoder that was not closed leaves no thread."""
    decoder = Decoder()
    await decoder.run(int)
    [thread] = decoder_threads()

    del decoder
    gc.collect()
    await asyncio.to_thread(thread.join)

    assert decoder_threads() == []


def test_result_for_a_loop_that_is_closed_is_dropped() -> None:
    """The thread goes on without a traceback, and ends at `close`."""
    begun, may_end = threading.Event(), threading.Event()
    decoder = Decoder()

    def slow() -> None:
        begun.set()
        may_end.wait()

    async def give_up() -> None:
        task = asyncio.create_task(decoder.run(slow))
        await asyncio.to_thread(begun.wait)
        task.cancel()

    asyncio.run(give_up())
    [thread] = decoder_threads()
    decoder.close()
    may_end.set()
    thread.join()

    assert not thread.is_alive()


def test_process_ends_while_a_picture_is_decoded() -> None:
    """At its end, Python joins the threads of executors, but not this one."""
    program = """
import asyncio, threading
from flag_pipeline.images.decoder import Decoder
begun = threading.Event()
def never_ends():
    begun.set()
    threading.Event().wait()
async def main():
    with Decoder() as decoder:
        task = asyncio.create_task(decoder.run(never_ends))
        await asyncio.to_thread(begun.wait)
        task.cancel()
asyncio.run(main())
print("ended")
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)

    assert (ended.stdout, ended.stderr) == ("ended\n", "")
