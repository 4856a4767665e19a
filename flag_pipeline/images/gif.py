"""Reads the structure of a GIF."""

import struct

from flag_pipeline.errors import ImageError
from flag_pipeline.images.structure import Box, Structure

_TRAILER, _EXTENSION, _FRAME = 0x3B, 0x21, 0x2C


def read_gif(content: bytes) -> Structure:
    """See `ImageFormat.read`."""
    width, height, flags = struct.unpack_from("<2HB", content, 6)
    at = 13 + _colour_table_bytes(flags)
    boxes: list[Box] = []
    n_pixels, size = 0, (0, 0)
    while (label := content[at]) != _TRAILER:
        if label == _EXTENSION:
            at = _skip_sub_blocks(content, at + 2)
        elif label == _FRAME:
            left, top, frame_width, frame_height, flags = struct.unpack_from("<4HB", content, at + 1)
            boxes.append((left, top, left + frame_width, top + frame_height))
            # Pillow enlarges the canvas if a frame is partly outside.
            width, height = max(width, boxes[-1][2]), max(height, boxes[-1][3])
            size = size if len(boxes) > 1 else (width, height)
            n_pixels += width * height
            at = _skip_sub_blocks(content, at + 11 + _colour_table_bytes(flags))
        elif label == 0:
            at += 1  # some encoders write a terminator too many
        else:
            raise ImageError(f"the gif has an unknown block 0x{label:02x} at byte {at}")
    if not boxes:
        raise ImageError("the gif has no frame")
    return Structure(
        "gif",
        size,
        n_pixels=n_pixels,
        n_frames=len(boxes),
        size_bytes=at + 1,
        drawing=content[: at + 1],
        box=boxes[0],
    )


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_sub_blocks(content: bytes, at: int) -> int:
    while size := content[at]:
        at += size + 1
    return at + 1
