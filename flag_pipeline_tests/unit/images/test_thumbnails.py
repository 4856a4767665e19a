"""Thumbnails of flags: formats, sizes and bytes."""

import io

import pytest
from PIL import Image

from flag_pipeline.errors import ImageError
from flag_pipeline.images.formats import FORMATS, SVG
from flag_pipeline.images.thumbnails import (
    THUMBNAIL_BOX,
    before_and_after,
    data_uri,
    draw_thumbnail,
    fit,
    read_data_uri,
    thumbnail_size,
)
from flag_pipeline_tests.records import striped
from flag_pipeline_tests.samples import picture
from flag_pipeline_tests.svgs import svg


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {SVG}))
def test_thumbnail_of_every_format_is_a_webp(name: str) -> None:
    """The same flag gives the same bytes."""
    thumbnail = draw_thumbnail(picture(name.upper()))

    with Image.open(io.BytesIO(thumbnail)) as image:
        assert image.format == "WEBP"
    assert thumbnail == draw_thumbnail(picture(name.upper()))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 268), (160, 107)), ((100, 300), (40, 120)), ((16, 11), (16, 11)), ((1000, 1), (160, 1))],
)
def test_thumbnail_fits_its_box_and_is_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """`thumbnail_size` knows the size without drawing."""
    with Image.open(io.BytesIO(draw_thumbnail(striped("red", size=size)))) as image:
        assert image.size == expected
    assert thumbnail_size(*size) == expected
    assert THUMBNAIL_BOX == (160, 120)


def test_thumbnail_of_a_vector_fills_its_box() -> None:
    """An SVG is drawn as large as fits, whatever size it names."""
    assert thumbnail_size(24, 16, is_vector=True) == (160, 107)


def test_thumbnail_of_a_small_flag_keeps_its_pixels() -> None:
    """A flag of a few pixels is enlarged on the page, where errors of the compression would be seen."""
    flag = striped("#de2910", "#ffde00", "#0b57b7", size=(16, 11))

    with Image.open(io.BytesIO(draw_thumbnail(flag))) as drawn, Image.open(io.BytesIO(flag)) as original:
        assert drawn.convert("RGB").tobytes() == original.convert("RGB").tobytes()


def test_thumbnail_of_a_clear_flag_is_clear() -> None:
    """Transparency is kept."""
    buffer = io.BytesIO()
    Image.new("RGBA", (300, 200), (255, 0, 0, 0)).save(buffer, "PNG")

    with Image.open(io.BytesIO(draw_thumbnail(buffer.getvalue()))) as image:
        assert image.convert("RGBA").getchannel("A").getextrema() == (0, 0)


def test_damaged_flag_has_no_thumbnail() -> None:
    """The error is that of other damaged images."""
    with pytest.raises(ImageError):
        draw_thumbnail(b"GIF89a")


def test_svg_is_drawn_in_the_size_that_is_asked_for() -> None:
    """A page never gets the file itself, which can be more than a picture."""
    content = svg()

    with Image.open(io.BytesIO(draw_thumbnail(content))) as image:
        assert (image.format, image.size) == ("WEBP", (160, 107))
    assert fit(content, (900, 900)).size == (900, 600)
    assert before_and_after(content, None).startswith(b"\x89PNG")


def test_small_image_is_enlarged_by_a_whole_factor() -> None:
    """A large image is scaled down instead, and its sides keep their proportions."""
    content = picture("PNG")

    assert fit(content, (30, 30)).size == (24, 12)
    assert fit(content, (4, 4)).size == (4, 2)


@pytest.mark.parametrize("uri", ["data:image/webp;base64,A", "data:image/webp;base64,AAAAA="])
def test_damaged_data_uri_is_a_damaged_image(uri: str) -> None:
    """A record may have one."""
    assert read_data_uri(data_uri(b"RIFF", "webp")) == b"RIFF"
    with pytest.raises(ImageError, match="the thumbnail is damaged"):
        read_data_uri(uri)
