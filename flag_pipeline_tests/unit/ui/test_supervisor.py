"""What `flag-pipeline ui` starts runs until a signal, and nothing of it remains: with small processes in its place."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from flag_pipeline.errors import ConfigurationError, ProcessEndedError
from flag_pipeline.ui.supervisor import check_port, supervise
from flag_pipeline_tests.e2e.deployment import free_port

# A web server, and a process with a child of its own that hears no SIGTERM; both write down who they are.
SERVER = """
import http.server, os, pathlib, sys
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[2])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
PARENT = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"])
for pid in (os.getpid(), child.pid):
    pathlib.Path(sys.argv[1], str(pid)).touch()
time.sleep(600)
"""
SUPERVISOR = """
import sys
from flag_pipeline.ui.supervisor import supervise
folder, port, server, parent = sys.argv[1:]
commands = {"server": [sys.executable, "-c", server, folder, port], "parent": [sys.executable, "-c", parent, folder]}
supervise(commands, f"http://127.0.0.1:{port}/", lambda: print("ready", flush=True))
"""


@pytest.fixture(autouse=True)
def _hang_up_has_its_default() -> Iterator[None]:
    """Undo what `nohup` does to a command, in case the tests are run by it, because processes inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@contextmanager
def supervised(folder: Path, *, ignored: signal.Signals | None = None) -> Iterator[subprocess.Popen[str]]:
    """Give a supervisor that is ready, started by a script that ignores a signal, if one is named."""
    shell = f"trap '' {ignored.name.removeprefix('SIG')}; " if ignored else ""
    port = str(free_port())
    command = [sys.executable, "-c", SUPERVISOR, str(folder), port, SERVER, PARENT]
    with subprocess.Popen(
        ["/bin/sh", "-c", f'{shell}exec "$@"', "sh", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        wait_until(lambda: len(list(folder.iterdir())) == 3)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def wait_until(happened: Callable[[], bool]) -> None:
    """Wait for what other processes do; the test's own time limit ends it."""
    while not happened():
        time.sleep(0.01)


def running(folder: Path) -> list[int]:
    """Which of the processes that wrote down their number are running."""
    return [int(path.name) for path in folder.iterdir() if _is_running(int(path.name))]


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_all_processes(tmp_path: Path, number: signal.Signals) -> None:
    """Started in the background of a script, which ignores SIGINT, it ends on each signal, and its children with it."""
    ignored = signal.SIGINT if number != signal.SIGHUP else None
    with supervised(tmp_path, ignored=ignored) as process:
        process.send_signal(number)

        assert process.wait() == 0
    assert running(tmp_path) == []


def test_an_ignored_hang_up_stays_ignored(tmp_path: Path) -> None:
    """After `nohup` the end of the terminal ends nothing."""
    with supervised(tmp_path, ignored=signal.SIGHUP) as process:
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)

        assert process.wait() == 0
        assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent was killed")
def test_a_killed_supervisor_takes_its_processes_along(tmp_path: Path) -> None:
    """After kill -9 the kernel sends SIGTERM to each process that it had started."""
    with supervised(tmp_path) as process:
        leaders = [pid for pid in running(tmp_path) if os.getpgid(pid) == pid]
        process.kill()

        wait_until(lambda: not [pid for pid in leaders if _is_running(pid)])
    for pid in running(tmp_path):
        os.kill(pid, signal.SIGKILL)
    assert len(leaders) == 2


def test_the_end_of_one_process_ends_the_others(tmp_path: Path) -> None:
    """When one ends by itself, the error names it with its exit code, and the others are ended."""
    commands = {
        "parent": [sys.executable, "-c", PARENT, str(tmp_path)],
        "daemon": [sys.executable, "-c", "raise SystemExit(3)"],
    }

    with pytest.raises(ProcessEndedError, match="the daemon has ended with exit code 3"):
        supervise(commands, f"http://127.0.0.1:{free_port()}/", lambda: None)
    assert running(tmp_path) == []


def test_a_process_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """One that ignores SIGTERM, and has children that do, is killed with them when its time is over."""
    stubborn = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{PARENT}"
    commands = {
        "stubborn": [sys.executable, "-c", stubborn, str(tmp_path)],
        "daemon": ["/bin/sh", "-c", f"until [ $(ls {tmp_path} | wc -l) = 2 ]; do sleep 0.01; done"],
    }

    with pytest.raises(ProcessEndedError, match="the daemon has ended with exit code 0"):
        supervise(commands, f"http://127.0.0.1:{free_port()}/", lambda: None, grace_s=0.0)
    wait_until(lambda: running(tmp_path) == [])


def test_a_busy_port_is_named() -> None:
    """A port on which another process listens is refused before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        with pytest.raises(ConfigurationError, match=f"port {port} cannot be used .*: choose another with --port"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)


def test_processes_run_in_the_folder(tmp_path: Path) -> None:
    """They have the folder as their current one, so that Dagster reads no `.env` of another folder."""
    commands = {"writer": [sys.executable, "-c", "import pathlib; pathlib.Path('here').touch()"]}

    with pytest.raises(ProcessEndedError, match="the writer has ended"):
        supervise(commands, f"http://127.0.0.1:{free_port()}/", lambda: None, folder=tmp_path)

    assert (tmp_path / "here").exists()
