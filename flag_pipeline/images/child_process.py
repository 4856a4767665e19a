"""Child processes that answer requests on their standard input and output.

A child ends at the end of its input, so it does not outlive its parent.
"""

import atexit
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO

from flag_pipeline.errors import ImageError, LocalError

READY = b"R"
# Seconds of processor time; bytes of the request that follows.
REQUEST = struct.Struct(">dQ")
# Bytes of the answer that follows.
ANSWER = struct.Struct(">Q")
# It was stopped, or the machine is out of memory.
MAX_WAIT_S = 60.0

# Killed when this process ends.
_running: "weakref.WeakSet[ChildProcess]" = weakref.WeakSet()
# By module.
_idle: "dict[str, ChildProcess]" = {}
_is_ending = threading.Event()
_HOME = str(Path(__file__).resolve().parents[2])


def serve(answer: Callable[[bytes], bytes], requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until their end: the child's side."""
    # Ctrl-C and the end of a service concern the parent process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    answers.write(READY)
    answers.flush()
    while header := requests.read(REQUEST.size):
        max_cpu_s, n_bytes = REQUEST.unpack(header)
        request = requests.read(n_bytes)
        signal.setitimer(signal.ITIMER_PROF, max_cpu_s)
        body = answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(ANSWER.pack(len(body)) + body)
        answers.flush()
        # It waits without images.
        request = body = b""


class ChildProcess:
    """The parent's side of a process that runs *module*; *name* is for messages.

    Raises LocalError if it cannot start.
    """

    def __init__(self, module: str, *arguments: str, name: str) -> None:
        if _is_ending.is_set():
            raise LocalError(f"cannot start {name}: the program ends")
        self.module, self._name = module, name
        self._is_ready, self._is_asked = False, False
        try:
            self._process = _start(module, *arguments)
        except OSError as exc:
            raise LocalError(f"cannot start {name}: {exc.strerror}") from exc
        _running.add(self)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it can answer more."""
        # The rest of an unread answer would be the next one.
        return not self._is_asked and self._process.poll() is None

    def ask(self, request: bytes, *, max_cpu_s: float, work: str) -> bytes:
        """Return the answer. Blocks.

        Raises ImageError if the request ends the process, LocalError if it was killed or did not start. *work* is a
        verb.
        """
        self._is_asked = True
        deadline = threading.Timer(MAX_WAIT_S, self.kill)
        deadline.daemon = True
        deadline.start()
        try:
            self._wait_until_ready()
            # The exit code says what ended it.
            with suppress(BrokenPipeError):
                _pipe(self._process.stdin).write(REQUEST.pack(max_cpu_s, len(request)) + request)
                _pipe(self._process.stdin).flush()
            header = self._read(ANSWER.size)
            n_bytes = ANSWER.unpack(header)[0] if len(header) == ANSWER.size else 0
            answer = self._read(n_bytes)
        finally:
            deadline.cancel()
        if not header or len(answer) < n_bytes:
            raise self._reason_of_end(max_cpu_s, work)
        self._is_asked = False
        return answer

    def _wait_until_ready(self) -> None:
        if not self._is_ready and self._read(len(READY)) != READY:
            self.close()
            is_killed = self._process.returncode == -signal.SIGKILL
            raise LocalError(f"cannot start {self._name}: it {'was killed' if is_killed else 'ended at once'}")
        self._is_ready = True

    def _read(self, n_bytes: int) -> bytes:
        return _pipe(self._process.stdout).read(n_bytes)

    def _reason_of_end(self, max_cpu_s: float, work: str) -> ImageError | LocalError:
        self.close()
        code = self._process.returncode
        if code == -signal.SIGPROF:
            return ImageError(f"the image takes more than {max_cpu_s:g} s to {work}")
        if code == -signal.SIGKILL:
            return LocalError(f"{self._name} was killed")
        return ImageError(f"the image cannot be read: {self._name} ended with {code}, maybe for lack of memory")

    def kill(self) -> None:
        """End the process, without waiting for it."""
        self._process.kill()

    def close(self) -> None:
        """End the process."""
        self.kill()
        # Closing flushes unsent data.
        with suppress(BrokenPipeError), self._process:
            pass

    def leave_to_parent(self) -> None:  # pragma: no cover - in a fork
        """Close the fork's pipes."""
        self._process.returncode = 0
        with self._process:
            pass


def _start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    # `-S` skips the start-up code of site-packages.
    paths = [_HOME, *(str(Path(path).absolute()) for path in sys.path if path)]
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-S", "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path("/"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def take(module: str, name: str) -> ChildProcess:
    """Return an idle process, else a new one. Raises LocalError if it cannot start."""
    if (child := _idle.pop(module, None)) is not None:
        if child.is_alive():
            return child
        child.close()
    return ChildProcess(module, name=name)


def give_back(child: ChildProcess) -> None:
    """Keep an idle process for `take`, one of each module."""
    if child.is_alive() and not _is_ending.is_set() and _idle.setdefault(child.module, child) is child:
        return
    child.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:  # pragma: no cover - for the type checker
        raise TypeError
    return pipe


def end_all() -> None:
    """Kill all children, and start no more."""
    _is_ending.set()
    for child in [*_running]:
        child.kill()


def _forget() -> None:  # pragma: no cover - in a fork
    for child in _idle.values():
        child.leave_to_parent()
    _idle.clear()
    _running.clear()


atexit.register(end_all)
os.register_at_fork(after_in_child=_forget)
