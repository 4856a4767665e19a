"""Reads the structure of a PNG or an animated PNG."""

import struct

from flag_pipeline.errors import ImageError
from flag_pipeline.images.byte_ranges import take
from flag_pipeline.images.exif import orientation_of
from flag_pipeline.images.structure import Structure

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STILL = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}


def read_png(content: bytes) -> Structure:
    """See `ImageFormat.read`."""
    chunks: list[tuple[bytes, bytes]] = []
    at, orientation, cid = len(_SIGNATURE), 1, b""
    while cid != b"IEND":
        size, cid = struct.unpack_from(">I4s", content, at)
        chunk = take(content, at, size + 12)
        chunks.append((cid, chunk))
        at += size + 12
        if cid == b"eXIf":
            orientation = orientation_of(chunk[8:-4])
    if chunks[0][0] != b"IHDR":
        raise ImageError("the png does not begin with its header")
    width, height, bits = struct.unpack_from(">2IB", chunks[0][1], 8)
    n_frames, n_drawn = _count_frames(chunks)
    kept = _STILL | _ANIMATION if n_frames else _STILL
    return Structure(
        "png",
        (width, height),
        n_pixels=width * height * max(1, n_drawn),
        n_frames=max(1, n_frames),
        size_bytes=at,
        drawing=_SIGNATURE + b"".join(chunk for cid, chunk in chunks if cid in kept),
        box=(0, 0, width, height),
        orientation=orientation,
        bits=bits,
    )


def _count_frames(chunks: list[tuple[bytes, bytes]]) -> tuple[int, int]:
    """Return how many animation frames browsers show and Pillow draws."""
    cids = [cid for cid, _ in chunks]
    controls = [chunk for cid, chunk in chunks if cid == b"acTL"]
    n_frames = cids.count(b"fcTL")
    if len(controls) != 1 or not n_frames or b"IDAT" in cids[: cids.index(b"acTL")]:
        return 0, 0
    (n_announced,) = struct.unpack_from(">I", controls[0], 8)
    # Pillow counts a still image before the first frame.
    return (n_frames, n_frames + (b"IDAT" in cids[: cids.index(b"fcTL")])) if n_announced else (0, 0)
