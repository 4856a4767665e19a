"""The processes that draw SVGs: they are started once, can be killed, and end with this process."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flag_pipeline.errors import ImageError, LocalError
from flag_pipeline.images import child_process
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.svg_renderer import SvgProcess, SvgRenderer
from flag_pipeline_tests.svgs import SLOW, svg

PNG = b"\x89PNG"


@pytest.fixture
def process() -> Iterator[SvgProcess]:
    """A process of the test's own, that has started."""
    process = SvgProcess()
    process.draw(svg(), 16, 0)
    yield process
    process.close()


def size_of(png: bytes) -> tuple[int, int]:
    """The size in the header of a PNG."""
    return int.from_bytes(png[16:20]), int.from_bytes(png[20:24])


@pytest.mark.parametrize(
    ("root", "box", "size"),
    [
        ('viewBox="0 0 6 4"', (160, 120), (160, 107)),
        ('viewBox="0 0 4 6"', (160, 120), (80, 120)),
        ('viewBox="0 0 10000 1"', (160, 120), (160, 1)),
        ('viewBox="0 0 1 10000"', (160, 120), (1, 120)),
        ('width="6" height="4"', (1200, 1200), (1200, 800)),
    ],
)
def test_drawing_fits_in_the_box(root: str, box: tuple[int, int], size: tuple[int, int]) -> None:
    """It is as large as possible, whatever size it states."""
    renderer = SvgRenderer()

    assert size_of(renderer.draw(read_structure(svg(root=root)), box)) == size
    renderer.close()


def test_one_process_draws_everything_and_a_killed_one_is_replaced() -> None:
    """A process that was killed while idle costs nothing."""
    started: list[SvgProcess] = []

    def start() -> SvgProcess:
        started.append(SvgProcess())
        return started[-1]

    renderer, structure = SvgRenderer(start), read_structure(svg())
    for _ in range(3):
        renderer.draw(structure, (16, 12))
    assert len(started) == 1
    os.kill(started[0].pid, signal.SIGKILL)
    os.waitid(os.P_PID, started[0].pid, os.WEXITED | os.WNOWAIT)

    assert renderer.draw(structure, (16, 12)).startswith(PNG)
    assert len(started) == 2
    renderer.close()
    assert not any(process.is_alive() for process in started)


def test_slow_drawing_costs_its_process_alone() -> None:
    """The next drawing has a new process."""
    renderer = SvgRenderer()

    with pytest.raises(ImageError, match="takes more than 2 s to draw"):
        renderer.draw(read_structure(SLOW), (160, 120))
    assert renderer.draw(read_structure(svg()), (16, 12)).startswith(PNG)
    renderer.close()


def test_what_resvg_cannot_read_is_damaged(process: SvgProcess) -> None:
    """The reason is its own, and the process goes on."""
    with pytest.raises(ImageError, match="the svg is damaged: the root node was opened but never closed"):
        process.draw(svg()[:-6], 16, 0)

    assert process.draw(svg(), 16, 0).startswith(PNG)


def test_drawing_whose_process_is_killed_fails_for_now(process: SvgProcess) -> None:
    """It is not the drawing's fault: the next attempt may succeed."""
    os.kill(process.pid, signal.SIGSTOP)

    with ThreadPoolExecutor() as threads:
        drawing = threads.submit(process.draw, svg(), 160, 0)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(LocalError, match="the process that draws SVGs was killed"):
            drawing.result()


def test_process_that_does_not_answer_is_killed(process: SvgProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed also while it is sent more than a pipe holds."""
    monkeypatch.setattr(child_process, "MAX_WAIT_S", 0.01)
    os.kill(process.pid, signal.SIGSTOP)

    with pytest.raises(LocalError, match="was killed"):
        process.draw(svg(" " * 500_000), 160, 0)


def test_signals_of_a_terminal_or_service_do_not_end_a_process(process: SvgProcess) -> None:
    """They are for the run, which finishes what it has begun."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, number)

    assert process.draw(svg(), 16, 0).startswith(PNG)


@pytest.mark.parametrize(
    ("program", "reason"), [("/nowhere", "No such file"), (shutil.which("true"), "it ended at once")]
)
def test_process_that_does_not_start_is_no_fault_of_the_drawing(
    program: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is transient, and the next drawing tries again."""
    renderer = SvgRenderer()
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", program)
        with pytest.raises(LocalError, match=f"cannot start the process that draws SVGs: {reason}"):
            renderer.draw(read_structure(svg()), (16, 12))

    assert renderer.draw(read_structure(svg()), (16, 12)).startswith(PNG)
    renderer.close()


def test_process_that_is_not_ready_in_time_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and not that the process ended by itself."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 100\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(child_process, "MAX_WAIT_S", 0.1)

    with pytest.raises(LocalError, match="cannot start the process that draws SVGs: it was killed"):
        SvgRenderer().draw(read_structure(svg()), (16, 12))


def test_program_that_ends_kills_its_processes_and_starts_no_more(
    process: SvgProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is at work would outlive it by the time that its work takes."""
    monkeypatch.setattr(child_process, "_running", {process})
    monkeypatch.setattr(child_process, "_is_ending", threading.Event())

    child_process.end_all()

    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(LocalError, match="cannot start the process that draws SVGs: the program ends"):
        SvgProcess()


def test_more_threads_than_processes_wait() -> None:
    """Each gets its own drawing."""
    renderer = SvgRenderer()
    structures = [read_structure(svg(root=f'viewBox="0 0 {number} 100"')) for number in range(100, 140)]

    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda structure: renderer.draw(structure, (999, 100)), structures))

    assert [size_of(png) for png in drawn] == [structure.size for structure in structures]
    renderer.close()


FORKING = """
import os, signal, threading
from flag_pipeline.images.decoding import first_frame
from flag_pipeline.images.svg_renderer import SvgProcess

def draw(width):
    content = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d 100"><path d="M0 0h999v999H0z"/></svg>' % width
    return first_frame(content, (999, 100)).width

draw_now, begun, may_end = SvgProcess.draw, threading.Semaphore(0), threading.Event()

def draw_later(*args, **options):
    begun.release()
    may_end.wait()
    return draw_now(*args, **options)

SvgProcess.draw = draw_later
threads = [threading.Thread(target=draw, args=(100,)) for _ in range(os.cpu_count())]
for thread in threads:
    thread.start()
for thread in threads:
    begun.acquire()
SvgProcess.draw = draw_now
children = []
for number in range(1, 4):
    if not (pid := os.fork()):
        signal.alarm(30)
        os._exit(not all(draw(100 * number + n) == 100 * number + n for n in range(20)))
    children.append(pid)
may_end.set()
assert all(draw(500 + n) == 500 + n for n in range(20))
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
for thread in threads:
    thread.join()
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    print(file.read())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_forked_processes_do_not_share_a_renderer_and_it_ends_with_its_process() -> None:
    """A fork draws while all processes of its parent are busy; when the program has ended, so has what it started."""
    ended = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)

    started = [int(pid) for pid in ended.stdout.split()]
    assert started
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
