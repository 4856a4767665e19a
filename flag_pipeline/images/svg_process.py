"""The process that draws SVGs with resvg, one after the other.

It imports next to nothing, to start fast.
"""

import resource
import struct
import sys
from contextlib import suppress

import resvg_py

from flag_pipeline.images.child_process import serve

# Width and height, one of them 0; the SVG follows.
SIZE = struct.Struct(">2I")
# Before the PNG, and before the reason why there is none.
DRAWN, FAILED = b"+", b"-"


def answer(request: bytes) -> bytes:
    """Return the PNG of the request's SVG, or the reason."""
    width, height = SIZE.unpack_from(request)
    try:
        png = resvg_py.svg_to_bytes(
            svg_string=request[SIZE.size :].decode("utf-8-sig"),
            width=width or None,
            height=height or None,
            dpi=96,
            skip_system_fonts=True,
        )
    except ValueError as exc:
        return FAILED + str(exc).encode()
    return DRAWN + bytes(png)


if __name__ == "__main__":  # pragma: no cover - the tests run it as a process
    with suppress(ValueError, OSError):  # macOS has no such limit
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
    serve(answer, sys.stdin.buffer, sys.stdout.buffer)
