"""Dominant colours and perceptual hashes."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from PIL import Image, ImageDraw

from flag_pipeline.errors import ImageError
from flag_pipeline.images.colours import colour_family, rgb_of
from flag_pipeline.images.features import describe_features, distance_bits
from flag_pipeline.images.thumbnails import before_and_after, reduce
from flag_pipeline_tests.pictures import chunk, encoded, gif_frame, gif_of, png
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.samples import gif


def test_stripes_are_the_dominant_colours() -> None:
    """Two stripes give two colours with half of the pixels each, in a fixed order."""
    features = describe_features(striped("#ffffff", "#d00000"))

    assert {(colour.hex, colour.share) for colour in features.colours} == {("#ffffff", 0.5), ("#d00000", 0.5)}
    assert (features.mode, features.n_frames) == ("RGB", 1)
    assert features == describe_features(striped("#ffffff", "#d00000"))


def smooth(draw: Callable[[ImageDraw.ImageDraw, int, int], None], size: tuple[int, int]) -> Image.Image:
    """A flag whose edges are smoothed, as programs draw one: four times the size, then scaled down."""
    width, height = 4 * size[0], 4 * size[1]
    flag = Image.new("RGB", (width, height), "white")
    draw(ImageDraw.Draw(flag), width, height)
    return flag.resize(size, Image.Resampling.LANCZOS)


def vertical(*colours: str) -> Callable[[ImageDraw.ImageDraw, int, int], None]:
    """Draws vertical stripes of the same width."""

    def draw(canvas: ImageDraw.ImageDraw, width: int, height: int) -> None:
        for number, colour in enumerate(colours):
            canvas.rectangle((number * width / len(colours), 0, (number + 1) * width / len(colours), height), colour)

    return draw


def horizontal(*colours: str) -> Callable[[ImageDraw.ImageDraw, int, int], None]:
    """Draws horizontal stripes of the same height."""

    def draw(canvas: ImageDraw.ImageDraw, width: int, height: int) -> None:
        for number, colour in enumerate(colours):
            canvas.rectangle((0, number * height / len(colours), width, (number + 1) * height / len(colours)), colour)

    return draw


def japan(canvas: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """Draws a disc of three fifths of the height."""
    canvas.circle((width / 2, height / 2), height * 0.3, "#bc002d")


def norway(canvas: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """Draws a blue cross in a white one on red, in units of a sixteenth of the height."""
    unit = height / 16
    for colour, first, last in (("#ba0c2f", -99, 99), ("#ffffff", 6, 10), ("#00205b", 7, 9)):
        canvas.rectangle((0, first * unit, width, last * unit), colour)
        canvas.rectangle((first * unit, 0, last * unit, height), colour)
        canvas.rectangle((0, first * unit, width, last * unit), colour)


def czechia(canvas: ImageDraw.ImageDraw, width: int, height: int) -> None:
    """Draws red below white, and a blue triangle to the middle."""
    canvas.rectangle((0, height / 2, width, height), "#d7141a")
    canvas.polygon([(0, 0), (width / 2, height / 2), (0, height)], "#11457e")


FLAGS: dict[str, tuple[Callable[[ImageDraw.ImageDraw, int, int], None], dict[str, float]]] = {
    "FR": (vertical("#000091", "#ffffff", "#e1000f"), {"blue": 1 / 3, "white": 1 / 3, "red": 1 / 3}),
    "DE": (horizontal("#000000", "#dd0000", "#ffcc00"), {"black": 1 / 3, "red": 1 / 3, "yellow": 1 / 3}),
    "EE": (horizontal("#0072ce", "#000000", "#ffffff"), {"blue": 1 / 3, "black": 1 / 3, "white": 1 / 3}),
    "LT": (horizontal("#fdb913", "#006a44", "#c1272d"), {"yellow": 1 / 3, "green": 1 / 3, "red": 1 / 3}),
    "IE": (vertical("#009a49", "#ffffff", "#ff7900"), {"green": 1 / 3, "white": 1 / 3, "orange": 1 / 3}),
    "MU": (
        horizontal("#ee2737", "#151f6d", "#ffcd00", "#00a04d"),
        dict.fromkeys(("red", "blue", "yellow", "green"), 0.25),
    ),
    "JP": (japan, {"white": 0.812, "red": 0.188}),
    "NO": (norway, {"red": 0.636, "blue": 0.193, "white": 0.171}),
    "CZ": (czechia, {"white": 0.375, "red": 0.375, "blue": 0.25}),
}
FORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "png": encoded,
    "gif of 64 colours": lambda flag: encoded(flag.quantize(64), "GIF"),
    "gif of 8 colours": lambda flag: encoded(flag.quantize(8), "GIF"),
    "jpeg": lambda flag: encoded(flag, "JPEG", quality=75),
    "noisy jpeg": lambda flag: encoded(flag, "JPEG", quality=30),
    "webp": lambda flag: encoded(flag, "WEBP", quality=60),
}


@pytest.mark.parametrize("size", [(320, 213), (400, 268), (160, 107)], ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("code", FLAGS)
def test_real_flags_have_their_colours_and_no_others(code: str, form: str, size: tuple[int, int]) -> None:
    """Smoothed edges, palettes and noise add no colour, and the shares are right within four hundredths."""
    draw, shares = FLAGS[code]
    features = describe_features(FORMS[form](smooth(draw, size)))

    found = {colour_family(rgb_of(colour.hex)).value: colour.share for colour in features.colours}
    assert found == pytest.approx(shares, abs=0.04)
    assert features.aspect_ratio.removeprefix("about ") == "3:2"


THIRDS = {
    "AT": {"red", "white"},
    "BE": {"black", "yellow", "red"},
    "BG": {"white", "green", "red"},
    "CI": {"orange", "white", "green"},
    "DE": {"black", "red", "yellow"},
    "FR": {"blue", "white", "red"},
    "GN": {"red", "yellow", "green"},
    "HU": {"red", "white", "green"},
    "IE": {"green", "white", "orange"},
    "IT": {"green", "white", "red"},
    "LT": {"yellow", "green", "red"},
    "LU": {"red", "white", "light blue"},
    "NG": {"green", "white"},
    "NL": {"red", "white", "blue"},
    "RO": {"blue", "yellow", "red"},
    "RU": {"white", "blue", "red"},
    "YE": {"red", "white", "black"},
}


@pytest.mark.parametrize("code", THIRDS)
def test_embedded_flags_have_their_colours_and_no_others(code: str) -> None:
    """Each stripe has a third, two of the same colour have two."""
    features = describe_features(gif(code))

    assert {colour_family(rgb_of(colour.hex)).value for colour in features.colours} == THIRDS[code]
    assert {round(3 * colour.share) for colour in features.colours} <= {1, 2}


def test_a_transparent_margin_is_left_out() -> None:
    """A flag in the middle of a square has the features that it has alone."""
    flag = smooth(FLAGS["FR"][0], (300, 200))
    square = Image.new("RGBA", (320, 320))
    square.paste(flag, (10, 60))

    features = describe_features(encoded(square))

    assert (features.aspect_ratio, features.aspect_decimal) == ("3:2", 1.5)
    assert replace(features, mode="RGB") == describe_features(encoded(flag))


def test_a_flag_that_is_no_rectangle_has_the_size_of_what_is_seen() -> None:
    """Transparent corners are inside the flag, and have no colour."""
    flag = Image.new("RGBA", (400, 300))
    ImageDraw.Draw(flag).polygon([(50, 20), (250, 150), (50, 270)], "#dc143c")

    features = describe_features(encoded(flag))

    assert (features.aspect_ratio, features.aspect_decimal) == ("4:5", 0.8008)
    assert [(colour.hex, colour.share) for colour in features.colours] == [("#dc143c", 1.0)]


def test_shades_of_one_family_count_as_one_colour() -> None:
    """Shades of red are one colour, the most frequent shade."""
    features = describe_features(striped("#e00000", "#e00000", "#d80000", "#008000"))

    assert [(colour.hex, colour.share) for colour in features.colours] == [("#e00000", 0.75), ("#008000", 0.25)]


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


@pytest.mark.parametrize("grey", [0, 0x1234, 0x8000, 0xC0C0, 0xFFFF])
def test_grey_of_16_bits_is_scaled(grey: int) -> None:
    """A grey of 16 bits is as dark as the same grey of 8 bits; cut off at 255, all would be white."""
    stripes = [0x2000, grey, 0xA000]
    deep = b"".join(b"\0" + struct.pack(">H", value) * 30 for value in stripes for _ in range(10))
    flat = b"".join(b"\0" + bytes([value >> 8]) * 30 for value in stripes for _ in range(10))

    features = describe_features(png((30, 30), bits=16, colour=0, rows=deep))
    same = describe_features(png((30, 30), bits=8, colour=0, rows=flat))

    assert (features.colours, features.phash, features.mode) == (same.colours, same.phash, "I;16")


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

    features = describe_features(content)

    assert [colour.hex for colour in features.colours] == ["#0000ff"]
    assert features.n_frames == 1


def test_animated_png_that_lacks_its_frames_looks_like_the_image_before_them() -> None:
    """A frame without data does not count, and an accepted image has features."""
    frame = chunk(b"fcTL", struct.pack(">5I2H2B", 0, 1, 1, 0, 0, 1, 1, 0, 0))
    still = png((1, 1), bits=8, colour=2, rows=b"\0\xff\0\0", more=[chunk(b"acTL", struct.pack(">2I", 1, 0))])
    content = still[:-12] + frame + still[-12:]

    assert [colour.hex for colour in describe_features(content).colours] == ["#ff0000"]


def test_animated_png_without_another_image_looks_like_its_first_frame() -> None:
    """The default image is the first frame."""
    frames = [Image.new("RGB", (16, 8), colour) for colour in ("red", "blue", "green")]
    features = describe_features(encoded(frames[0], save_all=True, append_images=frames[1:]))

    assert ([colour.hex for colour in features.colours], features.n_frames) == (["#ff0000"], 3)


def test_damaged_picture_is_an_error_of_its_own() -> None:
    """The catalog leaves the image out, and the picture of a change shows it as lost."""
    damaged = png((4, 4), bits=8, colour=0, rows=b"\0\1")

    with pytest.raises(ImageError, match="the png is damaged"):
        describe_features(damaged)
    assert before_and_after(damaged, striped("red")) == before_and_after(None, striped("red"))
