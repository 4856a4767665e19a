"""Renditions: their names, sizes, shapes and bytes."""

import io

import pytest
from PIL import Image

from flag_pipeline.errors import ImageError
from flag_pipeline.images.rendition_names import RenditionFormat, parse_rendition
from flag_pipeline.images.renditions import encode, full_picture, render
from flag_pipeline.images.structure import Limits
from flag_pipeline_tests.samples import picture
from flag_pipeline_tests.svgs import svg


def flag(size: tuple[int, int], colour: str = "red", alpha: int = 255) -> Image.Image:
    """A picture with a stripe, so that cropping can be seen."""
    image = Image.new("RGBA", size, colour)
    image.putalpha(alpha)
    image.paste("blue", (0, 0, size[0] // 3, size[1]))
    return image


@pytest.mark.parametrize("name", ["w160", "square64", "circle1", "pad2000", " W40 "])
def test_name_is_parsed(name: str) -> None:
    """Case and spaces do not matter."""
    assert parse_rendition(name).name == name.strip().lower()


@pytest.mark.parametrize("name", ["", "w", "w0", "w007", "h160", "w2001", "160", "w160.png", "w-1", "w\uff11"])
def test_other_names_are_refused(name: str) -> None:
    """The message says what a name looks like."""
    with pytest.raises(ValueError, match="w160 or circle64"):
        parse_rendition(name)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("w160", (400, 268), (160, 107)),
        ("w160", (160, 100), (160, 100)),
        ("w160", (90, 60), (90, 60)),
        ("w10", (2000, 3), (10, 1)),
        ("square64", (400, 268), (64, 64)),
        ("square64", (268, 400), (64, 64)),
        ("square64", (40, 30), (30, 30)),
        ("circle64", (400, 268), (64, 64)),
        ("circle64", (40, 30), (30, 30)),
        ("pad64", (400, 268), (64, 64)),
        ("pad64", (40, 30), (64, 64)),
    ],
)
def test_size_is_exact_and_never_enlarged(name: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    """Only padding makes a small picture larger."""
    assert render(flag(size), parse_rendition(name)).size == expected


@pytest.mark.parametrize(
    ("root", "name", "expected"),
    [
        ('viewBox="0 0 640 480"', "w320", (320, 240)),
        ('viewBox="0 0 480 640"', "w320", (320, 427)),
        ('width="6" height="4"', "square640", (640, 640)),
        ('viewBox="0 0 62 38"', "circle64", (64, 64)),
        ('viewBox="0 0 6 4"', "w2000", (2000, 1333)),
    ],
)
def test_svg_is_drawn_as_large_as_its_renditions(root: str, name: str, expected: tuple[int, int]) -> None:
    """Whatever size it states."""
    rendition = parse_rendition(name)

    assert render(full_picture(svg(root=root), Limits(), px=rendition.px), rendition).size == expected


def test_large_svg_is_drawn_within_the_limit_of_pixels() -> None:
    """A narrow one stays smaller than its name says."""
    narrow = full_picture(svg('<path d="M0 0h99v9H0z"/>', root='viewBox="0 0 99 1"'), Limits(max_pixels=40_000), px=900)

    assert 39_000 < narrow.width * narrow.height < 43_000


def test_square_is_cut_from_the_middle() -> None:
    """The blue stripe is left of the square, so all of it is red."""
    square = render(flag((300, 100)), parse_rendition("square50"))

    assert square.getcolors() == [(2500, (255, 0, 0, 255))]


def test_circle_has_a_smooth_edge_and_clear_corners() -> None:
    """The middle is opaque, and the edge has values in between."""
    circle = render(flag((200, 200)), parse_rendition("circle64")).getchannel("A")

    assert [circle.getpixel(at) for at in ((0, 0), (63, 0), (0, 63), (63, 63), (32, 32))] == [0, 0, 0, 0, 255]
    assert len({value for _, value in circle.getcolors() or []}) > 10


def test_circle_keeps_the_transparency_of_the_flag() -> None:
    """A half-transparent flag stays so inside its circle."""
    circle = render(flag((200, 200), alpha=100), parse_rendition("circle64"))

    assert circle.getchannel("A").getextrema() == (0, 255)
    assert circle.getpixel((50, 32)) == (255, 0, 0, 100)


def test_padded_flag_is_whole_and_in_the_middle() -> None:
    """Its height is a third, with clear bands above and below."""
    padded = render(flag((300, 100)), parse_rendition("pad60"))

    assert padded.getchannel("A").getbbox() == (0, 20, 60, 40)


def test_transparent_pixels_leave_no_dark_edge() -> None:
    """A clear black background does not darken the red beside it."""
    image = Image.new("RGBA", (200, 100), (0, 0, 0, 0))
    image.paste("red", (0, 0, 101, 100))

    small = render(image, parse_rendition("w50"))

    assert small.convert("RGB").crop((0, 0, 25, 25)).getcolors() == [(625, (255, 0, 0))]


@pytest.mark.parametrize("image_format", RenditionFormat)
@pytest.mark.parametrize("alpha", [255, 100], ids=["opaque", "clear"])
def test_file_is_lossless_and_the_same_each_time(image_format: RenditionFormat, alpha: int) -> None:
    """An opaque picture has no alpha channel."""
    drawn = render(flag((400, 268), alpha=alpha), parse_rendition("w160"))

    content = encode(drawn, image_format)

    assert content == encode(drawn.copy(), image_format)
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == image_format.upper()
        assert image.mode == ("RGB" if alpha == 255 else "RGBA")
        assert list(image.convert("RGBA").get_flattened_data()) == list(drawn.get_flattened_data())


def test_large_picture_is_read_in_its_full_size() -> None:
    """The smaller copies that the catalog uses would lose detail."""
    assert full_picture(picture("PNG", size=(1400, 1000)), Limits(), px=160).size == (1400, 1000)


def test_turned_picture_is_read_as_it_is_shown() -> None:
    """Sides are swapped when the EXIF orientation says so."""
    image, buffer = Image.new("RGB", (30, 20)), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(buffer, "JPEG", exif=exif)

    assert full_picture(buffer.getvalue(), Limits(), px=160).size == (20, 30)


def test_picture_beyond_the_limits_is_refused() -> None:
    """It is not decoded."""
    with pytest.raises(ImageError, match="FLAG_MAX_PIXELS"):
        full_picture(picture("PNG", size=(20, 20)), Limits(max_pixels=100), px=160)


@pytest.mark.parametrize(("size", "expected"), [((3, 2), (160, 107)), ((82, 100), (160, 195)), ((28, 11), (160, 63))])
def test_svg_keeps_its_ratio(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The height is rounded once, from the ratio of the file and not from that of a drawing."""
    width, height = size
    root = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    content = svg(f'<rect width="{width}" height="{height}" fill="red"/>', root=root)

    assert render(full_picture(content, Limits(), px=160), parse_rendition("w160")).size == expected


def test_side_too_long_for_webp_is_an_error() -> None:
    """Only PNG has it."""
    narrow = flag((3, 16_384))

    assert encode(narrow, RenditionFormat.PNG)
    with pytest.raises(ImageError, match="choose png"):
        encode(narrow, RenditionFormat.WEBP)
