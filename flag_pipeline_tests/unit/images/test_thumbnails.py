"""Images for pages: `data:` URIs and sizes."""

import pytest

from flag_pipeline.images.formats import FORMATS, format_of_file
from flag_pipeline.images.thumbnails import before_and_after, data_uri, fit, thumbnail_uri
from flag_pipeline_tests.samples import picture
from flag_pipeline_tests.svgs import svg


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"svg"}))
def test_small_still_image_is_its_own_thumbnail(name: str) -> None:
    """The extension of its file gives the media type."""
    content = picture(name.upper())
    file = f"flags/CN-China.{FORMATS[name].extension}"

    assert format_of_file(file) is FORMATS[name]
    assert thumbnail_uri(content, file, box=(90, 60), max_bytes=3000) == data_uri(content, name)


@pytest.mark.parametrize(("max_bytes", "n_frames"), [(10, 1), (3000, 2)], ids=["large", "moving"])
def test_large_or_moving_image_is_drawn(max_bytes: int, n_frames: int) -> None:
    """The thumbnail is a PNG."""
    uri = thumbnail_uri(picture("GIF"), "flags/CN-China.gif", box=(90, 60), max_bytes=max_bytes, n_frames=n_frames)

    assert uri.startswith("data:image/png;base64,")


def test_svg_is_drawn_in_the_size_that_is_asked_for() -> None:
    """A page never gets the file itself, which can be more than a picture."""
    content = svg('<path d="M0 0h6v4H0z"/>')

    assert thumbnail_uri(content, "flags/CN-China.svg", box=(90, 60), max_bytes=3000).startswith("data:image/png;")
    assert fit(content, (900, 900)).size == (900, 600)
    assert before_and_after(content, None).startswith(b"\x89PNG")


def test_small_image_is_enlarged_by_a_whole_factor() -> None:
    """A large image is scaled down instead, and its sides keep their proportions."""
    content = picture("PNG")

    assert fit(content, (30, 30)).size == (24, 12)
    assert fit(content, (4, 4)).size == (4, 2)
