"""Reads the structure of a JPEG."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace

from flag_pipeline.errors import ImageError
from flag_pipeline.images.byte_ranges import skip_padding, take
from flag_pipeline.images.exif import orientation_of, tiff_entries
from flag_pipeline.images.structure import Structure

# In scans, FF 00 is data, FF D0 to FF D7 are restart markers and FF FF is padding (ITU-T T.81, B.1.1).
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_SOI, _EOI, _SOS, _TEM, _APP0, _APP1, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0x01, 0xE0, 0xE1, 0xE2, 0xEE
# Huffman coding, as in browsers. With arithmetic coding, a small file can decode to endless data.
_FRAMES_SHOWN = {0xC0, 0xC1, 0xC2}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# With JFIF (APP0) and Adobe's colour model (APP14).
_JPEG_DRAWING = {0xC4, 0xDB, 0xDD, _SOS, _APP0, _APP14} | _FRAMES_SHOWN

_MP_ENTRIES, _MP_ENTRY_BYTES = 0xB002, 16


def read_jpeg(content: bytes) -> Structure:
    """See `ImageFormat.read`."""
    structure, n_further = _read_jpeg_at(content, 0)
    end = structure.size_bytes
    # Indexed offsets are often wrong.
    for _ in range(n_further):
        start = skip_padding(content, end)
        if not content.startswith(b"\xff\xd8", start):
            break
        end = _read_jpeg_at(content, start)[0].size_bytes
    return replace(structure, size_bytes=end)


def _read_jpeg_at(content: bytes, start: int) -> tuple[Structure, int]:
    """Return the structure and the number of further pictures (CIPA DC-007)."""
    kept, end = [b"\xff\xd8"], start
    size, n_scans, orientation, n_further = (0, 0), 0, 1, 0
    for code, at, segment in _segments(content, start + 2):
        if code in _FRAMES:
            if code not in _FRAMES_SHOWN or any(size):
                raise ImageError(f"browsers show no jpeg with a frame of type 0x{code:02x} or with several frames")
            height, width = struct.unpack_from(">2H", segment, 5)
            size = (width, height)
        elif code == _APP1 and segment.startswith(b"Exif\0\0", 4):
            orientation = orientation_of(segment[10:])
        elif code == _APP2 and segment.startswith(b"MPF\0", 4):
            _, entries = tiff_entries(segment[8:])
            _, n_bytes, _ = entries.get(_MP_ENTRIES, (0, 0, b""))
            n_further = n_bytes // _MP_ENTRY_BYTES - 1
        n_scans += code == _SOS
        end = at + len(segment)
        if code in _JPEG_DRAWING:
            kept.append(segment)
    structure = Structure(
        "jpeg",
        size,
        n_pixels=size[0] * size[1],
        n_frames=1,
        size_bytes=end,
        drawing=b"".join([*kept, b"\xff\xd9"]),
        box=(0, 0, *size),
        n_scans=n_scans,
        orientation=orientation,
    )
    return structure, n_further


def _segments(content: bytes, at: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield marker, offset and bytes; a scan includes its data."""
    code = 0
    while code != _EOI:
        code, start = _next_marker(content, at)
        if code == _SOI or _TEM < code < min(_FRAMES):
            raise ImageError(f"the jpeg has an unknown marker 0x{code:02x} at byte {start}")
        at = start + 2
        if code not in {_EOI, _TEM}:
            # The length counts its own two bytes.
            at += max(2, struct.unpack_from(">H", content, at)[0])
        if code == _SOS:
            _, at = _next_marker(content, at)
        yield code, start, take(content, start, at - start)


def _next_marker(content: bytes, at: int) -> tuple[int, int]:
    found = _JPEG_MARKER.search(content, at)
    if found is None:
        raise IndexError(at)
    return found[1][0], found.start()
