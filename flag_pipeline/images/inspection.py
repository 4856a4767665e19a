"""Checks an image, decodes every pixel and draws the thumbnail."""

import hashlib
from collections.abc import Iterable
from contextlib import suppress

from PIL import Image

from flag_pipeline.errors import ImageError
from flag_pipeline.images.decoding import as_shown, first_frame, opened
from flag_pipeline.images.formats import FORMATS, GIF, check_end, read_structure
from flag_pipeline.images.models import FlagImage, StoredDescription
from flag_pipeline.images.structure import Limits, Structure
from flag_pipeline.images.thumbnails import data_uri, encode_small_png

MAX_THUMBNAIL_BYTES = 4096
THUMBNAIL_PX = (160, 120)


def is_own_thumbnail(content: bytes, image_format: str) -> bool:
    """Whether the image can be its own thumbnail."""
    return len(content) <= MAX_THUMBNAIL_BYTES and not FORMATS[image_format].is_drawn_first


def inspect_image(content: bytes, *, formats: Iterable[str], limits: Limits) -> FlagImage:
    """Decode *content* completely. Blocks.

    Raises ImageError if it is not in *formats*, is damaged or exceeds *limits*.
    """
    structure = _acceptable(content, formats, limits)
    thumbnail = _draw_thumbnail(content, structure)
    width_px, height_px = structure.size_shown
    return FlagImage(
        content=content,
        format=structure.format,
        width_px=width_px,
        height_px=height_px,
        sha256=hashlib.sha256(content).hexdigest(),
        thumbnail=thumbnail,
    )


def _size_shown(content: bytes, known: StoredDescription) -> tuple[int, int]:
    # A GIF has no EXIF data. A stored image may be refused now.
    if known.format != GIF:
        with suppress(ImageError):
            return read_structure(content).size_shown
    return known.width_px, known.height_px


def _acceptable(content: bytes, formats: Iterable[str], limits: Limits) -> Structure:
    structure = read_structure(content)
    if structure.format not in formats:
        raise ImageError(f"not a whole image ({', '.join(sorted(formats))}): it is a {structure.format}")
    check_end(content, structure)
    structure.check(limits)
    return structure


def _draw_thumbnail(content: bytes, structure: Structure) -> str:
    with opened(structure) as image:
        _decode(image)
        if is_own_thumbnail(content, structure.format):
            return data_uri(content, structure.format)
        image.seek(0)
        picture = as_shown(image, structure)
    return _shrink(picture)


def recall_image(content: bytes, known: StoredDescription, *, limits: Limits) -> FlagImage:
    """Return the stored image *content*, whose hash was checked, as its record describes it.

    Corrects sizes without EXIF orientation. Decodes (and blocks) only to draw a missing thumbnail; then raises
    ImageError if the image is damaged or exceeds *limits*.
    """
    width_px, height_px = _size_shown(content, known)
    kept = known.thumbnail if (width_px, height_px) == (known.width_px, known.height_px) else ""
    thumbnail = data_uri(content, known.format) if is_own_thumbnail(content, known.format) else kept
    if not thumbnail:
        read_structure(content).check(limits)
        thumbnail = _shrink(first_frame(content))
    return FlagImage(
        content=content,
        format=known.format,
        width_px=width_px,
        height_px=height_px,
        sha256=known.sha256,
        thumbnail=thumbnail,
    )


def _decode(image: Image.Image) -> None:
    number = 0
    while True:
        try:
            image.seek(number)
        except EOFError:
            return
        image.load()
        number += 1


def _shrink(picture: Image.Image) -> str:
    picture.thumbnail(THUMBNAIL_PX)
    return data_uri(encode_small_png(picture, max_bytes=MAX_THUMBNAIL_BYTES), "png")
