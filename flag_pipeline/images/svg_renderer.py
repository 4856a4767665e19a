"""Draws SVGs in separate processes, which are killed if a drawing takes too long.

resvg cannot be interrupted: 295 bytes with a filter take 40 s.
"""

import math
import os
import queue
from collections.abc import Callable

from flag_pipeline.errors import ImageError
from flag_pipeline.images import svg_process
from flag_pipeline.images.child_process import ChildProcess
from flag_pipeline.images.structure import MAX_DECODING_S, Structure

MAX_MEMORY_BYTES = 512 * 2**20
# Larger drawings, which only renditions have, may take longer.
_USUAL_PIXELS = 1_000_000


class SvgProcess(ChildProcess):
    """One process for one drawing at a time. Raises LocalError if it does not start."""

    def __init__(self) -> None:
        super().__init__("flag_pipeline.images.svg_process", str(MAX_MEMORY_BYTES), name="the process that draws SVGs")

    def draw(self, content: bytes, width: int, height: int, *, max_cpu_s: float = MAX_DECODING_S) -> bytes:
        """Return a PNG of that width or height; the other is 0. Blocks.

        Raises ImageError if it is damaged or takes too much time or memory, LocalError if the process is killed.
        """
        answer = self.ask(svg_process.SIZE.pack(width, height) + content, max_cpu_s=max_cpu_s, work="draw")
        body = answer[len(svg_process.DRAWN) :]
        if not answer.startswith(svg_process.DRAWN):
            raise ImageError(f"the svg is damaged: {body.decode(errors='replace')[:100]}")
        return body


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
os.register_at_fork(after_in_child=RENDERER.forget)
