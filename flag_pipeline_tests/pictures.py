"""Pictures that no program saves by itself, built from bytes: slow ones, damaged ones, and ones that hide something."""

import io
import struct
import zlib
from collections.abc import Iterable
from typing import Any

from PIL import Image

JPEG_END, PNG_SIGNATURE = b"\xff\xd9", b"\x89PNG\r\n\x1a\n"


def encoded(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    """The image as a file of that format."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def segment(marker: int, body: bytes = b"") -> bytes:
    """A segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """The JPEG with one more segment at its beginning."""
    return jpeg[:2] + segment(marker, body) + jpeg[2:]


def scans(n_scans: int, *, side: int = 16) -> bytes:
    """A progressive JPEG of so many scans, each of which reads all coefficients of one colour again.

    Its last scans are 70 bytes each, and take as long as scans can: nothing but runs of blocks without a correction.
    """
    jpeg = encoded(Image.new("RGB", (side, side), (200, 30, 60)), "JPEG", progressive=True, subsampling=0)
    n_more = n_scans - jpeg.count(b"\xff\xda")
    assert n_more >= 0
    # A Huffman table with one code, which starts a run of 2^14 blocks and 14 more bits of them.
    table = segment(0xC4, b"\x11" + b"\1" + bytes(15) + b"\xe0")
    bits = ("0" + "1" * 14) * ((side // 8) ** 2 // 32767 + 1)
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    more = (segment(0xDA, bytes([1, 1 + number % 3, 0x11, 1, 63, 0x10])) + data for number in range(n_more))
    return jpeg[:-2] + table + b"".join(more) + JPEG_END


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(size: tuple[int, int], *, bits: int, colour: int, rows: bytes, more: Iterable[bytes] = ()) -> bytes:
    """A PNG of these rows, each with its filter byte, and *more* chunks before its data."""
    header = chunk(b"IHDR", struct.pack(">2I5B", *size, bits, colour, 0, 0, 0))
    return PNG_SIGNATURE + header + b"".join(more) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND")


def exif(orientation: int, *, kind: int = 3, order: str = ">") -> bytes:
    """EXIF data, without its header, that say how the picture is turned."""
    start = b"MM\0*\0\0\0\x08" if order == ">" else b"II*\0\x08\0\0\0"
    entries = [(0x010F, 2, 1, b"x\0\0\0"), (0x0112, kind, 1, struct.pack(order + "HH", orientation, 0))]
    packed = b"".join(struct.pack(order + "HHI4s", *entry) for entry in entries)
    return start + struct.pack(order + "H", len(entries)) + packed + bytes(4)


def gif_frame(box: tuple[int, int, int, int], *, control: bytes = b"", blocks: bytes = b"\x02\x02\x44\x01\0") -> bytes:
    """A frame of a GIF: left, top, width and height, and its compressed data, here of one pixel."""
    return control + b"\x2c" + struct.pack("<4HB", *box, 0) + blocks


def gif_of(size: tuple[int, int], *frames: bytes) -> bytes:
    """A GIF of black and white with these frames."""
    return b"GIF89a" + struct.pack("<2H3B", *size, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + b"".join(frames) + b";"


def webp_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a WebP."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def webp_of(*chunks: bytes) -> bytes:
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def code_tables(n_frames: int) -> bytes:
    """A WebP whose frames, of one pixel each, announce 65,536 groups of five code tables: the slowest bytes of all.

    Source: the lossless bitstream of RFC 9649, section 3.
    """
    one_symbol, two_symbols = (0b0001, 4), (0b111 | 255 << 11, 19)
    fields = [
        *((0, 14), (0, 14), (0, 4)),  # one pixel, version 0
        *((0, 1), (1, 1), (11, 4)),  # no transform, the largest colour cache
        *((1, 1), (0, 3), (0, 1)),  # groups of tables, chosen by an image of one pixel
        *[two_symbols, two_symbols, one_symbol, one_symbol, one_symbol],
        (3, 2),  # the pixel: group 65,535
        *[one_symbol] * (65_536 * 5),
    ]
    bits = "".join(f"{value:0{n_bits}b}"[::-1] for value, n_bits in fields)
    data = b"\x2f" + int(bits[::-1], 2).to_bytes(len(bits) // 8 + 9, "little")
    frame = webp_chunk(b"ANMF", bytes(16) + webp_chunk(b"VP8L", data))
    return webp_of(webp_chunk(b"VP8X", b"\2" + bytes(9)), webp_chunk(b"ANIM", bytes(6)), *[frame] * n_frames)
