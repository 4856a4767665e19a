"""What a picture's bytes announce, read block by block without decoding: format, size, frames, scans, and its end.

This takes time in proportion to the bytes. What decodes the picture gets only the blocks that draw it: text, profiles
and EXIF data stay outside, because Pillow unpacks them at their own cost (a PNG of 1 MB can hold a thousand profiles of
1 MB each) and prints a warning for each of their faults.
"""

import struct

from flag_pipeline.errors import ImageError
from flag_pipeline.images.exif import orientation_of
from flag_pipeline.images.jpeg import read_jpeg
from flag_pipeline.images.padding import behind_padding, part_of
from flag_pipeline.images.structure import Box, Structure

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_STILL = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}


def read_structure(content: bytes) -> Structure:
    """Return the structure of the picture that *content* is.

    Raises ImageError when it is no GIF, PNG, JPEG or WebP, when it is cut short or its blocks make no sense.
    """
    kind = _format_of(content)
    try:
        structure = _READERS[kind](content)
    except (struct.error, IndexError) as exc:
        raise ImageError(f"the {kind} is cut short") from exc
    if not all(structure.size):
        raise ImageError(f"the {kind} has no pixels")
    return structure


def check_end(content: bytes, structure: Structure) -> None:
    """Raise ImageError if anything but white space and zeros comes after the end of the picture.

    Scripts and archives are hidden there.
    """
    if behind_padding(content, structure.size_bytes) < len(content):
        n_behind = len(content) - structure.size_bytes
        raise ImageError(f"{n_behind:,} bytes after the end of the picture")


def _format_of(content: bytes) -> str:
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if content.startswith(_PNG_SIGNATURE):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    raise ImageError("not a whole image (gif, jpeg, png, webp)")


# GIF


def _read_gif(content: bytes) -> Structure:
    width, height, flags = struct.unpack_from("<2HB", content, 6)
    at = 13 + _colour_table_bytes(flags)
    boxes: list[Box] = []
    n_pixels, size = 0, (0, 0)
    while (label := content[at]) != 0x3B:  # noqa: PLR2004 - the trailer
        if label == 0x21:  # noqa: PLR2004 - an extension
            at = _behind_sub_blocks(content, at + 2)
        elif label == 0x2C:  # noqa: PLR2004 - a frame
            left, top, frame_width, frame_height, flags = struct.unpack_from("<4HB", content, at + 1)
            boxes.append((left, top, left + frame_width, top + frame_height))
            # Pillow makes the canvas larger for a frame that is partly outside.
            width, height = max(width, boxes[-1][2]), max(height, boxes[-1][3])
            size = size if len(boxes) > 1 else (width, height)
            n_pixels += width * height
            at = _behind_sub_blocks(content, at + 11 + _colour_table_bytes(flags))
        elif label == 0:
            at += 1  # Some encoders write an end mark too many.
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


def _behind_sub_blocks(content: bytes, at: int) -> int:
    while size := content[at]:
        at += size + 1
    return at + 1


# PNG


def _read_png(content: bytes) -> Structure:
    chunks: list[tuple[bytes, bytes]] = []
    at, orientation, cid = len(_PNG_SIGNATURE), 1, b""
    while cid != b"IEND":
        size, cid = struct.unpack_from(">I4s", content, at)
        chunk = part_of(content, at, size + 12)
        chunks.append((cid, chunk))
        at += size + 12
        if cid == b"eXIf":
            orientation = orientation_of(chunk[8:-4])
    if chunks[0][0] != b"IHDR":
        raise ImageError("the png does not begin with its header")
    width, height, bits = struct.unpack_from(">2IB", chunks[0][1], 8)
    n_frames, n_drawn = _apng_frames(chunks)
    kept = _PNG_STILL | _PNG_ANIMATION if n_frames else _PNG_STILL
    return Structure(
        "png",
        (width, height),
        n_pixels=width * height * max(1, n_drawn),
        n_frames=max(1, n_frames),
        size_bytes=at,
        drawing=_PNG_SIGNATURE + b"".join(chunk for cid, chunk in chunks if cid in kept),
        box=(0, 0, width, height),
        orientation=orientation,
        bits=bits,
    )


def _apng_frames(chunks: list[tuple[bytes, bytes]]) -> tuple[int, int]:
    """Return how many frames a browser shows of the PNG's animation, and how many Pillow draws; 0 if there is none."""
    cids = [cid for cid, _ in chunks]
    controls = [chunk for cid, chunk in chunks if cid == b"acTL"]
    n_frames = cids.count(b"fcTL")
    if len(controls) != 1 or not n_frames or b"IDAT" in cids[: cids.index(b"acTL")]:
        return 0, 0
    (n_announced,) = struct.unpack_from(">I", controls[0], 8)
    # An image before the first frame is for programs that know no animations; Pillow counts it as a frame.
    return (n_frames, n_frames + (b"IDAT" in cids[: cids.index(b"fcTL")])) if n_announced else (0, 0)


# WebP


def _read_webp(content: bytes) -> Structure:
    end = 8 + struct.unpack_from("<I", content, 4)[0]
    drawing = part_of(content, 0, end)
    at, n_frames, orientation, size = 12, 0, 1, (0, 0)
    while at + 8 <= end:
        fourcc, n_bytes = struct.unpack_from("<4sI", drawing, at)
        chunk = part_of(drawing, at + 8, n_bytes)
        if at == 12:  # noqa: PLR2004 - the first
            size = _canvas(fourcc, chunk)
        n_frames += fourcc == b"ANMF"
        # Chromium 2026 turns JPEG and PNG, but not WebP; programs that show photographs turn all three.
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


def _canvas(fourcc: bytes, chunk: bytes) -> tuple[int, int]:
    """Return width and height as the first chunk gives them. Source: RFC 9649, section 2, and RFC 6386, section 9.1."""
    if fourcc == b"VP8X":
        return 1 + int.from_bytes(part_of(chunk, 4, 3), "little"), 1 + int.from_bytes(part_of(chunk, 7, 3), "little")
    if fourcc == b"VP8 ":
        width, height = struct.unpack_from("<2H", chunk, 6)
        return width & 0x3FFF, height & 0x3FFF
    if fourcc == b"VP8L":
        (bits,) = struct.unpack_from("<I", chunk, 1)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    raise ImageError("the webp begins with an unknown chunk")


_READERS = {"gif": _read_gif, "png": _read_png, "jpeg": read_jpeg, "webp": _read_webp}
