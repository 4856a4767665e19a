"""The process that draws SVGs with resvg, one after the other.

`svg_renderer` runs it as a script, without the package, so that it starts in a fraction of a second. A drawing that
takes too much processor time or memory ends it.
"""

import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import BinaryIO

import resvg_py

READY = b"R"
# Width and height, one of them 0; seconds of processor time; bytes of the SVG that follows.
REQUEST = struct.Struct(">2IdI")
# Whether it was drawn; bytes of the PNG or the reason that follows.
ANSWER = struct.Struct(">?I")


def serve(requests: BinaryIO, answers: BinaryIO, *, max_memory_bytes: int) -> None:
    """Answer requests until their end."""
    # Ctrl-C and the end of a service concern the parent process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    with suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    answers.write(READY)
    answers.flush()
    while header := requests.read(REQUEST.size):
        width, height, max_cpu_s, n_bytes = REQUEST.unpack(header)
        content = requests.read(n_bytes)
        signal.setitimer(signal.ITIMER_PROF, max_cpu_s)
        is_drawn, body = draw(content, width or None, height or None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(ANSWER.pack(is_drawn, len(body)) + body)
        answers.flush()


def draw(content: bytes, width: int | None, height: int | None) -> tuple[bool, bytes]:
    """Return whether *content* was drawn, and its PNG or the reason."""
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=content.decode("utf-8-sig"), width=width, height=height, dpi=96, skip_system_fonts=True
        )
    except ValueError as exc:
        return False, str(exc).encode()
    return True, bytes(png)


if __name__ == "__main__":  # pragma: no cover - the tests run it as a process
    serve(sys.stdin.buffer, sys.stdout.buffer, max_memory_bytes=int(sys.argv[1]))
