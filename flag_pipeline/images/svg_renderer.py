"""Draws SVGs in separate processes, which are killed if a drawing takes too long.

resvg cannot be interrupted: 295 bytes with a filter take 40 s. A process starts with the first SVG, serves further
ones, and ends with this process.
"""

import atexit
import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from flag_pipeline.errors import ImageError, LocalError
from flag_pipeline.images import svg_process
from flag_pipeline.images.structure import MAX_DECODING_S, Structure

MAX_MEMORY_BYTES = 512 * 2**20
# A process that does not answer was stopped, or the machine is out of memory.
MAX_WAIT_S = 60.0
# Larger drawings, which only renditions have, may take longer.
_USUAL_PIXELS = 1_000_000

_GONE = "the process that draws SVGs"


class SvgProcess:
    """One process for one request at a time. Raises LocalError if it does not start."""

    def __init__(self) -> None:
        command = [sys.executable, "-S", "-P", svg_process.__file__, str(MAX_MEMORY_BYTES)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path("/"),
                env=environment,
            )
        except OSError as exc:
            raise LocalError(f"cannot start {_GONE}: {exc.strerror}") from exc
        if not self._read(len(svg_process.READY)):
            self.close()
            raise LocalError(f"cannot start {_GONE}: it ended at once")

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether it can draw more."""
        return self._process.poll() is None

    def draw(self, content: bytes, width: int, height: int, *, max_cpu_s: float = MAX_DECODING_S) -> bytes:
        """Return a PNG of that width or height; the other is 0. Blocks.

        Raises ImageError if it is damaged or takes too much time or memory, LocalError if the process is killed.
        """
        request = svg_process.REQUEST.pack(width, height, max_cpu_s, len(content)) + content
        deadline = threading.Timer(MAX_WAIT_S, self._process.kill)
        deadline.daemon = True
        deadline.start()
        try:
            # The exit code says better what ended the process.
            with suppress(BrokenPipeError):
                _pipe(self._process.stdin).write(request)
                _pipe(self._process.stdin).flush()
            header = self._read(svg_process.ANSWER.size)
            is_drawn, n_bytes = svg_process.ANSWER.unpack(header) if header else (False, 0)
            body = self._read(n_bytes)
        finally:
            deadline.cancel()
        if len(body) < n_bytes or not header:
            raise self._reason_of_end(max_cpu_s)
        if not is_drawn:
            raise ImageError(f"the svg is damaged: {body.decode(errors='replace')[:100]}")
        return body

    def _read(self, n_bytes: int) -> bytes:
        return _pipe(self._process.stdout).read(n_bytes)

    def _reason_of_end(self, max_cpu_s: float) -> ImageError | LocalError:
        self.close()
        code = self._process.returncode
        if code == -signal.SIGPROF:
            return ImageError(f"the svg takes more than {max_cpu_s:g} s to draw")
        if code == -signal.SIGKILL:
            return LocalError(f"{_GONE} was killed")
        return ImageError(f"the svg cannot be drawn: {_GONE} ended with {code}, maybe for lack of memory")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        # Closing flushes unsent data.
        with suppress(BrokenPipeError), self._process:
            pass


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:  # pragma: no cover - for the type checker
        raise TypeError
    return pipe


class SvgRenderer:
    """One process per processor at most; more threads wait."""

    def __init__(self, start: Callable[[], SvgProcess] = SvgProcess) -> None:
        self._start = start
        self.forget()

    def forget(self) -> None:
        """Use none of the processes again: they are the parent's."""
        # Last in, first out: idle processes are used before another one starts.
        self._places: queue.LifoQueue[SvgProcess | None] = queue.LifoQueue()
        for _ in range(os.cpu_count() or 1):
            self._places.put(None)

    def draw(self, structure: Structure, box: tuple[int, int]) -> bytes:
        """Return a PNG that fits in *box*, enlarged if need be. Blocks. Raises the errors of `SvgProcess.draw`."""
        width, height = structure.size
        is_wide = width * box[1] >= height * box[0]
        max_cpu_s = MAX_DECODING_S * max(1, math.prod(box) / _USUAL_PIXELS)
        process = self._places.get()
        try:
            if process is not None and not process.is_alive():
                process.close()
                process = None
            process = process or self._start()
            sides = (box[0], 0) if is_wide else (0, box[1])
            return process.draw(structure.drawing, *sides, max_cpu_s=max_cpu_s)
        finally:
            self._places.put(process)

    def close(self) -> None:
        """End the idle processes."""
        idle = [self._places.get() for _ in range(self._places.qsize())]
        for process in idle:
            if process is not None:
                process.close()
            self._places.put(None)


RENDERER = SvgRenderer()
atexit.register(RENDERER.close)
os.register_at_fork(after_in_child=RENDERER.forget)
