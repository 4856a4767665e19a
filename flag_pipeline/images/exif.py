"""Reads TIFF directories: EXIF data and the index of multi-picture JPEGs."""

import struct

_ORIENTATION, _SHORT = 0x0112, 3


def orientation_of(tiff: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 for damaged data."""
    order, entries = tiff_entries(tiff)
    kind, _, value = entries.get(_ORIENTATION, (0, 0, b""))
    if kind != _SHORT:
        return 1
    (orientation,) = struct.unpack_from(order + "H", value)
    return orientation if 1 <= orientation <= 8 else 1  # noqa: PLR2004


def tiff_entries(tiff: bytes) -> tuple[str, dict[int, tuple[int, int, bytes]]]:
    """Return the byte order, and type, count and value by tag."""
    order = "<" if tiff.startswith(b"II") else ">"
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (n_entries,) = struct.unpack_from(order + "H", tiff, start)
    except struct.error:
        return order, {}
    table = tiff[start + 2 : start + 2 + 12 * n_entries]
    entries = struct.iter_unpack(order + "HHI4s", table[: len(table) // 12 * 12])
    return order, {tag: (kind, count, value) for tag, kind, count, value in entries}
