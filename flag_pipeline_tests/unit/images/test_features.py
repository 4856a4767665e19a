"""Dominant colours and perceptual hashes."""

import io
import struct

import pytest
from PIL import Image

from flag_pipeline.errors import ImageError
from flag_pipeline.images.colours import ColourFamily, colour_family, hex_of, rgb_of
from flag_pipeline.images.features import describe_features, distance_bits
from flag_pipeline.images.thumbnails import before_and_after, reduce
from flag_pipeline_tests.pictures import chunk, encoded, gif_frame, gif_of, png
from flag_pipeline_tests.records import striped


def test_stripes_are_the_dominant_colours() -> None:
    """Two stripes give two colours with half of the pixels each, in a fixed order."""
    look = describe_features(striped("#ffffff", "#d00000"))

    assert {(colour.hex, colour.share) for colour in look.colours} == {("#ffffff", 0.5), ("#d00000", 0.5)}
    assert (look.mode, look.n_frames) == ("RGB", 1)
    assert look == describe_features(striped("#ffffff", "#d00000"))


def test_shades_of_one_family_count_as_one_colour() -> None:
    """Shades of red are one colour, the most frequent shade."""
    look = describe_features(striped("#e00000", "#e00000", "#d80000", "#008000"))

    assert [(colour.hex, colour.share) for colour in look.colours] == [("#e00000", 0.75), ("#008000", 0.25)]


def test_a_see_through_picture_has_no_colours() -> None:
    """Transparent pixels are not counted."""
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(buffer, "PNG")

    assert describe_features(buffer.getvalue()).colours == ()


def test_hash_is_near_for_the_same_picture_and_far_for_another() -> None:
    """Twice the size and another format change few bits; turning the flag upside down changes many."""
    one = describe_features(striped("black", "red", "gold", size=(60, 36)))
    larger = describe_features(striped("black", "red", "gold", size=(120, 72), kind="GIF"))
    reverse = describe_features(striped("gold", "red", "black", size=(60, 36)))

    assert len(one.phash) == 16
    assert distance_bits(one, one) == 0
    assert distance_bits(one, larger) <= 4
    assert distance_bits(one, reverse) > distance_bits(one, larger)


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("#de2910", ColourFamily.RED),
        ("#c8102e", ColourFamily.RED),
        ("#ff8200", ColourFamily.ORANGE),
        ("#ffce00", ColourFamily.YELLOW),
        ("#009246", ColourFamily.GREEN),
        ("#75aadb", ColourFamily.LIGHT_BLUE),
        ("#a0b0e0", ColourFamily.LIGHT_BLUE),
        ("#0a1172", ColourFamily.BLUE),
        ("#8d1b8d", ColourFamily.PURPLE),
        ("#7a4a1a", ColourFamily.BROWN),
        ("#000000", ColourFamily.BLACK),
        ("#443e31", ColourFamily.BLACK),
        ("#999999", ColourFamily.GREY),
        ("#f4f4f4", ColourFamily.WHITE),
    ],
)
def test_colours_have_the_names_people_use(code: str, family: ColourFamily) -> None:
    """Colours of real flags have their common names."""
    assert colour_family(rgb_of(code)) is family
    assert hex_of(rgb_of(code)) == code


@pytest.mark.parametrize("grey", [0, 0x1234, 0x8000, 0xC0C0, 0xFFFF])
def test_grey_of_16_bits_is_scaled(grey: int) -> None:
    """A grey of 16 bits is as dark as the same grey of 8 bits; cut off at 255, all would be white."""
    stripes = [0x2000, grey, 0xA000]
    deep = b"".join(b"\0" + struct.pack(">H", value) * 30 for value in stripes for _ in range(10))
    flat = b"".join(b"\0" + bytes([value >> 8]) * 30 for value in stripes for _ in range(10))

    look = describe_features(png((30, 30), bits=16, colour=0, rows=deep))
    same = describe_features(png((30, 30), bits=8, colour=0, rows=flat))

    assert (look.colours, look.phash, look.mode) == (same.colours, same.phash, "I;16")


def pixels(content: bytes) -> list[tuple[int, int, int, int]]:
    """The pixels of a picture's first frame as it is shown, row by row."""
    picture = reduce(content, (64, 64))
    return [picture.getpixel((x, y)) for y in range(picture.height) for x in range(picture.width)]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("bits", "colour", "row", "clear"),
    [
        (1, 0, b"\x40", b"\0\1"),
        (2, 0, b"\x30", b"\0\3"),
        (4, 0, b"\x0f", b"\0\x0f"),
        (8, 0, b"\x00\xff", b"\0\xff"),
        (16, 0, b"\0\0\xff\xff", b"\xff\xff"),
        (8, 2, bytes(3) + b"\xff" * 3, b"\0\xff" * 3),
        (16, 2, bytes(6) + b"\xff\xfe" * 3, b"\xff\xfe" * 3),
    ],
)
def test_colour_that_is_no_colour_is_so_at_any_depth(bits: int, colour: int, row: bytes, clear: bytes) -> None:
    """A PNG names it at the depth of its samples; the second of these two pixels cannot be seen."""
    content = png((2, 1), bits=bits, colour=colour, rows=b"\0" + row, more=[chunk(b"tRNS", clear)])

    assert pixels(content) == [(0, 0, 0, 255), (255, 255, 255, 0)]


def test_neighbour_of_the_colour_that_is_no_colour_is_seen() -> None:
    """At 16 bits both have the same upper half."""
    content = png((2, 1), bits=16, colour=0, rows=b"\0\x80\x00\x80\x01", more=[chunk(b"tRNS", b"\x80\x01")])

    assert [alpha for *_, alpha in pixels(content)] == [255, 0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_picture_of_any_mode_looks_like_itself(mode: str) -> None:
    """A white image is white and a black one is black."""
    flag = Image.new("RGB", (32, 32), "white")
    flag.paste("black", (0, 0, 32, 16))
    content = encoded(flag.convert(mode), "JPEG" if mode == "CMYK" else "PNG")

    assert {colour.hex for colour in describe_features(content).colours} == {"#ffffff", "#000000"}


def test_there_is_nothing_around_a_first_frame_that_is_smaller_than_the_canvas() -> None:
    """Browsers show the page there, not the first colour of the palette."""
    content = gif_of((3, 1), gif_frame((1, 0, 1, 1)))

    assert [alpha for *_, alpha in pixels(content)] == [0, 255, 0]


def test_animated_png_looks_like_its_first_frame() -> None:
    """The image before the animation is for programs without animations; browsers do not show it."""
    red, blue = (Image.new("RGB", (16, 8), colour) for colour in ("red", "blue"))
    content = encoded(red, save_all=True, append_images=[blue], default_image=True)

    look = describe_features(content)

    assert [colour.hex for colour in look.colours] == ["#0000ff"]
    assert look.n_frames == 1


def test_animated_png_that_lacks_its_frames_looks_like_the_image_before_them() -> None:
    """A frame without data does not count, and an accepted image has features."""
    frame = chunk(b"fcTL", struct.pack(">5I2H2B", 0, 1, 1, 0, 0, 1, 1, 0, 0))
    still = png((1, 1), bits=8, colour=2, rows=b"\0\xff\0\0", more=[chunk(b"acTL", struct.pack(">2I", 1, 0))])
    content = still[:-12] + frame + still[-12:]

    assert [colour.hex for colour in describe_features(content).colours] == ["#ff0000"]


def test_animated_png_without_another_image_looks_like_its_first_frame() -> None:
    """The default image is the first frame."""
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "blue", "green")]
    look = describe_features(encoded(frames[0], save_all=True, append_images=frames[1:]))

    assert ([colour.hex for colour in look.colours], look.n_frames) == (["#ff0000"], 3)


def test_damaged_picture_is_an_error_of_its_own() -> None:
    """The catalog leaves the image out, and the picture of a change shows it as lost."""
    damaged = png((4, 4), bits=8, colour=0, rows=b"\0\1")

    with pytest.raises(ImageError, match="the png is damaged"):
        describe_features(damaged)
    assert before_and_after(damaged, striped("red")) == before_and_after(None, striped("red"))
