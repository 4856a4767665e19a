"""The decoder's processes: there are few, a crash costs one call, and nothing waits for them."""

import asyncio
import gc
import operator
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytest

from flag_pipeline.core.countries import iso_codes
from flag_pipeline.core.presets import ANY_FORMAT
from flag_pipeline.errors import ImageError, LocalError
from flag_pipeline.images import child_process
from flag_pipeline.images import decoder as decoder_module
from flag_pipeline.images.decoder import MAX_BATCH, MAX_PROCESSES, Decoder, default_processes, start_early
from flag_pipeline.images.inspection import inspect_image
from flag_pipeline.images.structure import Limits
from flag_pipeline_tests.samples import gif, picture

_EARLIER: set[threading.Thread] = set()


def decoder_threads() -> list[threading.Thread]:
    """The threads of this test's decoders."""
    return [each for each in threading.enumerate() if each.name == "flag-decoder" and each not in _EARLIER]


@pytest.fixture(autouse=True)
def _threads_end() -> Iterator[None]:
    """Leave other tests' decoders alone, and wait until the threads of this test's have ended."""
    _EARLIER.update(decoder_threads())
    yield
    _join()
    _EARLIER.clear()


def _join() -> None:
    for thread in decoder_threads():
        thread.join()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe: who opens it waits for the other end."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


async def test_calls_are_made_in_order_in_one_process() -> None:
    """The results and the exceptions of calls reach their callers; an exception says where it was raised."""
    with Decoder(processes=1) as decoder:
        calls = (partial(operator.floordiv, 6, number) for number in (3, 0, 2))
        results = await asyncio.gather(*map(decoder.run, calls), return_exceptions=True)
        pids = await asyncio.gather(*(decoder.run(os.getpid) for _ in range(3 * MAX_BATCH)))
        [thread] = decoder_threads()

    assert [results[0], results[2]] == [2, 3]
    assert isinstance(results[1], ZeroDivisionError)
    assert "Traceback" in results[1].__notes__[0]
    assert len(set(pids)) == 1
    assert pids[0] != os.getpid()
    assert thread.daemon


async def test_prepared_process_makes_the_first_call() -> None:
    """It is started once, however often that is asked for."""
    with Decoder(processes=1) as decoder:
        decoder.prepare()
        decoder.prepare()
        [thread] = decoder_threads()
        assert await decoder.run(os.getpid) == await decoder.run(os.getpid)
        assert decoder_threads() == [thread]


async def test_call_that_ends_its_process_fails_alone() -> None:
    """The others of its batch have their results, from another process."""
    calls = [partial(operator.add, number, 1) for number in range(2 * MAX_BATCH)]
    crash = partial(os.abort)
    killed = partial(signal.raise_signal, signal.SIGKILL)

    with Decoder(processes=1) as decoder:
        tasks = [decoder.run(call) for call in (*calls[:5], crash, *calls[5:9], killed, *calls[9:])]
        results = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(results.pop(10), LocalError)
    ended = results.pop(5)
    assert isinstance(ended, ImageError)
    assert (
        str(ended)
        == "the image cannot be read: the process that decodes images ended with -6, maybe for lack of memory"
    )
    assert results == list(range(1, 2 * MAX_BATCH + 1))


async def test_call_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even an endless loop in a library stops the run."""
    monkeypatch.setattr(decoder_module, "MAX_CPU_S", 0.3)

    with Decoder(processes=1) as decoder:
        with pytest.raises(ImageError, match=r"the image takes more than 0\.3 s to decode"):
            await decoder.run(partial(pow, 3, 10**9))
        assert await decoder.run(partial(operator.add, 1, 1)) == 2


async def test_call_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, pipe: Path) -> None:
    """It uses no processor time, and still does not stop the run."""
    monkeypatch.setattr(child_process, "MAX_WAIT_S", 0.1)

    with (
        Decoder(processes=1) as decoder,
        pytest.raises(LocalError, match="the process that decodes images was killed"),
    ):
        await decoder.run(pipe.read_bytes)


async def test_process_that_does_not_start_fails_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next call starts another one."""
    with Decoder(processes=1) as decoder:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/nowhere")
            with pytest.raises(LocalError, match="cannot start the process that decodes images"):
                await decoder.run(os.getpid)
        assert await decoder.run(os.getpid)


async def test_process_that_was_killed_while_idle_costs_nothing() -> None:
    """Another one makes the next call."""
    with Decoder(processes=1) as decoder:
        pid = await decoder.run(os.getpid)
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)

        assert await decoder.run(os.getpid) != pid


@pytest.mark.usefixtures("started")
async def test_closing_waits_for_nothing_and_drops_what_waits(pipe: Path, tmp_path: Path) -> None:
    """The current call goes on, waiting ones are cancelled, then the thread ends and leaves its process to the next."""
    with Decoder(processes=1) as decoder:
        pid = await decoder.run(os.getpid)
        running = asyncio.create_task(decoder.run(pipe.read_bytes))
        writer = await asyncio.to_thread(pipe.open, "wb")
        waiting = asyncio.create_task(decoder.run((tmp_path / "never").touch))
        await asyncio.sleep(0)
        [thread] = decoder_threads()

    assert not running.done()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="closed"):
        await decoder.run(os.getpid)
    writer.write(b"content")
    writer.close()
    assert await running == b"content"
    await asyncio.to_thread(thread.join)
    assert not (tmp_path / "never").exists()
    assert await _pid_of_one_call() == pid


async def test_more_processes_make_what_waits_at_once(tmp_path: Path) -> None:
    """Each of three calls waits until all have begun; their processes end with the decoder."""
    pipes = [tmp_path / str(number) for number in range(3)]
    for path in pipes:
        os.mkfifo(path)

    with Decoder(processes=3) as decoder:
        calls = [asyncio.create_task(decoder.run(path.read_bytes)) for path in pipes]
        writers = await asyncio.gather(*(asyncio.to_thread(path.open, "wb") for path in pipes))
        for writer in writers:
            writer.close()
        await asyncio.gather(*calls)
        threads = decoder_threads()

    assert len(threads) == 3
    for thread in threads:
        await asyncio.to_thread(thread.join)


def test_one_processor_is_left_to_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one process at least, and never more than memory has room for."""
    for n_processors, expected in ((1, 1), (2, 1), (3, 2), (64, MAX_PROCESSES)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid, n=n_processors: set(range(n)), raising=False)
        assert default_processes() == expected
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert default_processes() == 1


async def test_processes_derive_the_same() -> None:
    """Records, thumbnails and refusals are equal byte for byte with one process and with four."""
    contents = [*map(gif, iso_codes()[:40]), picture("PNG"), picture("WEBP", frames=3), b"damaged"]

    async def derive(n_processes: int) -> list[str]:
        with Decoder(processes=n_processes) as decoder:
            inspections = (partial(inspect_image, each, formats=ANY_FORMAT, limits=Limits()) for each in contents)
            derived = await asyncio.gather(*map(decoder.run, inspections), return_exceptions=True)
        return [repr(each) for each in derived]

    assert await derive(1) == await derive(4)


async def test_call_that_its_caller_gave_up_is_not_made(pipe: Path, tmp_path: Path) -> None:
    """The next result is not affected."""
    with Decoder(processes=1) as decoder:
        first = asyncio.create_task(decoder.run(pipe.read_bytes))
        writer = await asyncio.to_thread(pipe.open, "wb")
        given_up = asyncio.create_task(decoder.run((tmp_path / "given up").touch))
        kept = asyncio.create_task(decoder.run((tmp_path / "kept").touch))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.wait([given_up])
        writer.close()
        await asyncio.gather(first, kept)

    assert (tmp_path / "kept").exists()
    assert not (tmp_path / "given up").exists()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes that the test starts, without one that an earlier test has left."""
    idle: dict[str, child_process.ChildProcess] = {}
    processes: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(child_process, "_idle", idle)
    monkeypatch.setattr(subprocess, "Popen", Noted)
    yield processes
    _join()
    for child in idle.values():
        child.close()


@pytest.mark.parametrize(("is_dead", "n_started"), [(False, 1), (True, 2)])
async def test_process_that_was_started_early_is_used(
    started: list[subprocess.Popen[bytes]], *, is_dead: bool, n_started: int
) -> None:
    """There is one, however often it is asked for, and it is the decoder's, unless it has ended."""
    await asyncio.to_thread(start_early)
    await asyncio.to_thread(start_early)
    if is_dead:
        started[0].kill()
        started[0].wait()

    with Decoder(processes=1) as decoder:
        assert await decoder.run(os.getpid) == started[-1].pid

    assert len(started) == n_started


async def test_next_decoder_uses_the_same_process(started: list[subprocess.Popen[bytes]]) -> None:
    """Its start takes longer than the pictures of a small catalog. One process is kept, however many there were."""
    await asyncio.gather(*[_pid_of_one_call() for _ in range(3)])
    n_started = len(started)

    assert len({await _pid_of_one_call() for _ in range(3)}) == 1
    assert len(started) == n_started
    assert [process.poll() for process in started].count(None) == 1


async def _pid_of_one_call() -> int:
    with Decoder(processes=1) as decoder:
        pid = await decoder.run(os.getpid)
        threads = decoder_threads()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    return pid


async def test_process_whose_answer_was_not_read_is_not_kept(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the answer is not taken for the next one, for want of memory or for another reason."""

    class Unreadable:
        size = child_process.ANSWER.size

        def unpack(self, _header: bytes) -> tuple[int]:
            raise MemoryError

    async def fail(decoder: Decoder) -> None:
        with monkeypatch.context() as poor:
            poor.setattr(child_process, "ANSWER", Unreadable())
            with pytest.raises(MemoryError):
                await decoder.run(os.getpid)

    with Decoder(processes=1) as decoder:
        await fail(decoder)
        assert await decoder.run(os.getpid) == started[-1].pid
        await fail(decoder)

    assert await _pid_of_one_call() == started[-1].pid
    assert len(started) == 3


def test_fork_starts_a_process_of_its_own() -> None:
    """It says nothing about the idle one, which stays its parent's."""
    program = """
import asyncio, os, sys
from flag_pipeline.images.decoder import Decoder
async def pid_of_one_call():
    with Decoder(processes=1) as decoder:
        return await decoder.run(os.getpid)
first = asyncio.run(pid_of_one_call())
[thread.join() for thread in __import__("threading").enumerate() if thread.name == "flag-decoder"]
if not os.fork():
    print("another" if asyncio.run(pid_of_one_call()) != first else "the same", flush=True)
    sys.exit()
os.wait()
print("the same" if asyncio.run(pid_of_one_call()) == first else "another")
"""

    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.stdout.split("\n"), done.stderr) == (["another", "the same", ""], "")


async def test_process_that_cannot_be_started_early_is_started_when_it_is_needed(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command does not fail for want of a process that it may not need."""
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere")
        await asyncio.to_thread(start_early)

    with Decoder(processes=1) as decoder:
        assert await decoder.run(os.getpid) == started[-1].pid


def test_program_that_ends_kills_the_early_process(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not begun to read its input yet, whose end would end it. None is kept from then on."""
    monkeypatch.setattr(child_process, "_running", set())
    monkeypatch.setattr(child_process, "_is_ending", threading.Event())
    start_early()

    child_process.end_all()

    assert started[0].wait() == -signal.SIGKILL
    start_early()
    assert len(started) == 1


@pytest.mark.usefixtures("started")
async def test_decoder_that_nothing_refers_to_leaves_its_process() -> None:
    """A decoder that was not closed leaves no thread, and its process to the next."""
    decoder = Decoder()
    pid = await decoder.run(os.getpid)
    [thread] = decoder_threads()

    del decoder
    gc.collect()
    await asyncio.to_thread(thread.join)

    assert decoder_threads() == []
    assert await _pid_of_one_call() == pid


def test_result_for_a_loop_that_is_closed_is_dropped(pipe: Path) -> None:
    """The thread goes on without a traceback, and ends at `close`."""
    decoder = Decoder()

    async def give_up() -> None:
        task = asyncio.create_task(decoder.run(pipe.read_bytes))
        writers.append(await asyncio.to_thread(pipe.open, "wb"))
        task.cancel()

    writers: list[IO[bytes]] = []
    asyncio.run(give_up())
    [thread] = decoder_threads()
    decoder.close()
    writers[0].close()
    thread.join()

    assert not thread.is_alive()


@pytest.mark.skipif(sys.platform != "linux", reason="waits for a process that is no child")
@pytest.mark.parametrize("end", ["print('ended', flush=True)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_program_ends_while_a_picture_is_decoded(end: str, pipe: Path) -> None:
    """It waits for no call, and its process ends with it, even if it is killed."""
    program = f"""
import asyncio, os, pathlib, signal
from flag_pipeline.images.decoder import Decoder
async def main():
    with Decoder() as decoder:
        print(await decoder.run(os.getpid), flush=True)
        task = asyncio.create_task(decoder.run(pathlib.Path({str(pipe)!r}).read_bytes))
        global writer
        writer = await asyncio.to_thread(open, {str(pipe)!r}, "wb")
        task.cancel()
asyncio.run(main())
{end}
"""

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)

    assert ended.stderr == ""
    pid, *said = ended.stdout.split()
    assert said == (["ended"] if "print" in end else [])
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(int(pid))], [], [])
