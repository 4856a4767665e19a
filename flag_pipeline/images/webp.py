"""Reads the structure of a WebP."""

import struct

from flag_pipeline.errors import ImageError
from flag_pipeline.images.byte_ranges import take
from flag_pipeline.images.exif import orientation_of
from flag_pipeline.images.structure import Structure

_FIRST_CHUNK = 12


def read_webp(content: bytes) -> Structure:
    """See `ImageFormat.read`."""
    end = 8 + struct.unpack_from("<I", content, 4)[0]
    drawing = take(content, 0, end)
    at, n_frames, orientation, size = _FIRST_CHUNK, 0, 1, (0, 0)
    while at + 8 <= end:
        fourcc, n_bytes = struct.unpack_from("<4sI", drawing, at)
        chunk = take(drawing, at + 8, n_bytes)
        if at == _FIRST_CHUNK:
            size = _canvas_size(fourcc, chunk)
        n_frames += fourcc == b"ANMF"
        # Chromium (2026) ignores the orientation of WebP; image viewers apply it.
        if fourcc == b"EXIF":
            orientation = orientation_of(chunk.removeprefix(b"Exif\0\0"))
        at += 8 + n_bytes + n_bytes % 2
    n_frames = max(1, n_frames)
    return Structure(
        "webp",
        size,
        n_pixels=size[0] * size[1] * n_frames,
        n_frames=n_frames,
        size_bytes=end,
        drawing=drawing,
        box=(0, 0, *size),
        orientation=orientation,
    )


def _canvas_size(fourcc: bytes, chunk: bytes) -> tuple[int, int]:
    """Return width and height. Source: RFC 9649, 2, and RFC 6386, 9.1."""
    if fourcc == b"VP8X":
        return 1 + int.from_bytes(take(chunk, 4, 3), "little"), 1 + int.from_bytes(take(chunk, 7, 3), "little")
    if fourcc == b"VP8 ":
        width, height = struct.unpack_from("<2H", chunk, 6)
        return width & 0x3FFF, height & 0x3FFF
    if fourcc == b"VP8L":
        (bits,) = struct.unpack_from("<I", chunk, 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise ImageError("the webp begins with an unknown chunk")
