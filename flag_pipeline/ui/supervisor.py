"""Runs the processes of `flag-pipeline ui` until a signal, and ends them all."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from flag_pipeline.errors import ConfigurationError, ProcessEndedError

__all__ = ["check_port", "supervise"]

_POLL_S = 0.1
_PR_SET_PDEATHSIG = 1


def supervise(
    commands: Mapping[str, Sequence[str]],
    probe_url: str,
    on_ready: Callable[[], None],
    *,
    folder: Path | None = None,
    grace_s: float = 15.0,
) -> None:
    """Run the commands until SIGINT, SIGTERM or SIGHUP; call *on_ready* once *probe_url* answers.

    They run in *folder*, else the current one. Raises ProcessEndedError when one ends by itself. On return all have
    ended; they are killed *grace_s* after SIGTERM.
    """
    with _stop_signals() as received:
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for name, command in commands.items():
                processes[name] = _start(command, folder)
            _watch(processes, received, probe_url, on_ready)
        finally:
            _end(list(processes.values()), grace_s)


def check_port(host: str, port: int) -> None:
    """Raise ConfigurationError if another process listens on the port."""
    with socket.socket() as probe:
        # Closed connections would keep the port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            reason = exc.strerror or exc
            raise ConfigurationError(f"port {port} cannot be used ({reason}): choose another with --port") from exc


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect signals, even a SIGINT that background jobs ignore; `nohup` still ignores SIGHUP."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if number != signal.SIGHUP or handler != signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(command: Sequence[str], folder: Path | None) -> subprocess.Popen[bytes]:
    # A new session: Ctrl-C reaches only us, and its children share its process group.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and modules
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 - this process has one thread
    )


def _end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent is killed (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _watch(
    processes: Mapping[str, subprocess.Popen[bytes]],
    received: Sequence[int],
    probe_url: str,
    on_ready: Callable[[], None],
) -> None:
    is_ready = False
    while not received:
        for name, process in processes.items():
            if process.poll() is not None:
                raise ProcessEndedError(
                    f"the {name} has ended with exit code {process.returncode}; its messages are above"
                )
        if not is_ready and _answers(probe_url):
            is_ready = True
            on_ready()
        time.sleep(_POLL_S)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - our own webserver on loopback
            return True
    except (urllib.error.URLError, OSError):
        return False


def _end(processes: Sequence[subprocess.Popen[bytes]], grace_s: float) -> None:
    """End the processes, then their children, such as runs; kill the rest."""
    deadline = time.monotonic() + grace_s
    for process in processes:
        process.terminate()
    _wait_until(lambda: all(process.poll() is not None for process in processes), deadline)
    for process in processes:
        _signal_group(process.pid, signal.SIGTERM)
    _wait_until(lambda: not any(_signal_group(process.pid, 0) for process in processes), deadline)
    for process in processes:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until(is_done: Callable[[], bool], deadline: float) -> None:
    while not is_done() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _signal_group(leader: int, number: int) -> bool:
    try:
        os.killpg(leader, number)
    except ProcessLookupError:
        return False
    return True
