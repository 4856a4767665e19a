"""The structure of images, read without decoding."""

import struct

import pytest
from PIL import Image

from flag_pipeline.errors import ImageError
from flag_pipeline.images.formats import check_end, read_structure
from flag_pipeline.images.structure import Limits, Structure
from flag_pipeline.settings import load_settings
from flag_pipeline_tests.pictures import (
    PNG_SIGNATURE,
    chunk,
    encoded,
    exif,
    gif_frame,
    gif_of,
    png,
    scans,
    segment,
    webp_chunk,
    webp_of,
)
from flag_pipeline_tests.samples import gif, picture


@pytest.mark.parametrize("kind", ["GIF", "PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("n_frames", [1, 3])
def test_structure_is_that_of_the_picture(kind: str, n_frames: int) -> None:
    """Format, size, frames and pixels over all frames are known without decoding."""
    content = picture(kind, frames=1 if kind == "JPEG" else n_frames)
    structure = read_structure(content)
    n_shown = 1 if kind == "JPEG" else n_frames

    assert (structure.format, structure.size, structure.n_frames) == (kind.lower(), (8, 4), n_shown)
    assert (structure.n_pixels, structure.size_bytes) == (32 * n_shown, len(content))
    check_end(content, structure)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "JPEG", "WEBP", "MPO"])
def test_picture_that_is_cut_anywhere_is_refused(kind: str) -> None:
    """Every beginning of an image is refused as cut short."""
    content = picture(kind, frames=2 if kind == "MPO" else 1)
    whole = content.index(b"\xff\xd9") + 2 if kind == "MPO" else 0

    for n_bytes in range(len(content)):
        if n_bytes != whole:
            part = content[:n_bytes]
            with pytest.raises(ImageError, match=r"cut short|not a whole image|no frame|^1 bytes after the end"):
                check_end(part, read_structure(part))


def test_default_limits_are_those_of_the_settings() -> None:
    """The defaults are stated twice, because the settings describe each of them."""
    assert load_settings().image_limits == Limits()


@pytest.mark.parametrize(
    ("structure", "refused"),
    [
        (Structure("gif", (9, 9), 100, 9, 9, b"", (0, 0, 9, 9)), None),
        (Structure("gif", (9, 9), 101, 9, 9, b"", (0, 0, 9, 9)), "has 101 pixels, more than 100 .*FLAG_MAX_PIXELS"),
        (Structure("gif", (9, 9), 100, 10, 9, b"", (0, 0, 9, 9)), "has 10 frames, more than 9 .*FLAG_MAX_FRAMES"),
        (Structure("jpeg", (9, 9), 100, 1, 9, b"", (0, 0, 9, 9), 4), "has 4 scans, more than 3 .*FLAG_MAX_SCANS"),
    ],
)
def test_each_limit_names_the_setting_to_raise(structure: Structure, refused: str | None) -> None:
    """The limits are inclusive."""
    limits = Limits(max_pixels=100, max_scans=3, max_frames=9)
    if refused is None:
        structure.check(limits)
    else:
        with pytest.raises(ImageError, match=refused):
            structure.check(limits)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gif_of((1, 1)), "no frame"),
        (gif_of((0, 0), gif_frame((0, 0, 0, 0))), "no pixels"),
        (gif_of((1, 1), b"\x77"), "unknown block 0x77"),
        (png((0, 1), bits=8, colour=0, rows=b""), "no pixels"),
        (PNG_SIGNATURE + chunk(b"IDAT") + chunk(b"IEND"), "does not begin with its header"),
        (b"\xff\xd8" + segment(0xFE) + b"\xff\xd9", "no pixels"),
        (b"\xff\xd8\xff\xd8\xff\xd9", "unknown marker 0xd8"),
        (b"\xff\xd8\xff\x02\xff\xd9", "unknown marker 0x02"),
        (picture("JPEG")[:-2] + picture("JPEG")[20:], "with several frames"),
        (webp_of(), "no pixels"),
        (webp_of(webp_chunk(b"ALPH", b"")), "unknown chunk"),
        (webp_of(webp_chunk(b"VP8X", bytes(5))), "cut short"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(content: bytes, reason: str) -> None:
    """The error states the reason."""
    with pytest.raises(ImageError, match=reason):
        read_structure(content)


def test_gif_may_have_an_end_mark_too_many() -> None:
    """Some encoders write a zero between the blocks, and browsers accept it."""
    content = gif_of((1, 1), b"\0", gif_frame((0, 0, 1, 1)), b"\0\0")

    assert read_structure(content).n_frames == 1


def test_canvas_of_a_gif_grows_with_its_frames() -> None:
    """Pillow enlarges the canvas for a frame beyond it and for all later frames."""
    content = gif_of((2, 1), gif_frame((1, 0, 2, 1)), gif_frame((0, 0, 1, 9)), gif_frame((0, 0, 1, 1)))
    structure = read_structure(content)

    assert (structure.size, structure.n_pixels, structure.box) == ((3, 1), 3 + 27 + 27, (1, 0, 3, 1))


def test_extensions_and_colour_tables_of_a_gif_are_skipped() -> None:
    """A comment may contain the bytes that end an image."""
    comment = b"\x21\xfe" + b"\x03;;;" + b"\x01\x2c" + b"\0"
    local = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0x81) + b";" * 12 + b"\x02\x02\x44\x01\0"
    content = gif_of((1, 1), comment, local, comment)

    assert read_structure(content).size_bytes == len(content)
    assert read_structure(gif()).n_frames == 1


def test_only_what_draws_a_picture_is_decoded() -> None:
    """The decoder gets no text, profiles, EXIF data or bytes after the end."""
    data = b"Exif\0\0" + exif(6) + b"secret"
    jpeg = picture("JPEG")[:2] + segment(0xE1, data) + segment(0xFE, b"secret") + picture("JPEG")[2:]
    text = png((1, 1), bits=8, colour=0, rows=b"\0\0", more=[chunk(b"tEXt", b"a\0secret"), chunk(b"eXIf", exif(6))])

    for content in (jpeg, text, gif() + b"secret"):
        structure = read_structure(content)
        assert b"secret" in content
        assert b"secret" not in structure.drawing
    assert read_structure(jpeg).orientation == read_structure(text).orientation == 6
    assert read_structure(jpeg).size_shown == (4, 8)


@pytest.mark.parametrize("n_scans", [11, 100, 5000])
def test_scans_are_counted(n_scans: int) -> None:
    """Each pass over a JPEG is one scan."""
    assert read_structure(scans(n_scans)).n_scans == n_scans


def test_webp_announces_its_canvas() -> None:
    """A WebP can be lossy, lossless or extended; each frame is as large as the canvas."""
    extended = webp_of(
        webp_chunk(b"VP8X", bytes(4) + b"\x0f\0\0" + b"\x07\0\0"),
        *[webp_chunk(b"ANMF", bytes(16))] * 3,
        webp_chunk(b"EXIF", b"Exif\0\0" + exif(8)),
        webp_chunk(b"EXIF", exif(8)),
    )
    structure = read_structure(extended)

    assert (structure.size, structure.n_frames, structure.n_pixels) == ((16, 8), 3, 3 * 16 * 8)
    assert structure.size_shown == (8, 16)
    for how in ({"lossless": True}, {"lossless": False}):
        assert read_structure(webp_with(**how)).size == (30, 20)


def webp_with(**how: bool) -> bytes:
    """A WebP of another kind."""
    return encoded(Image.new("RGB", (30, 20), "red"), "WEBP", **how)
