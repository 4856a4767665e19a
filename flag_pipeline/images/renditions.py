"""Draws renditions: images in named sizes and shapes."""

import io
import math

from PIL import Image, ImageChops, ImageDraw

from flag_pipeline.errors import ImageError
from flag_pipeline.images.decoding import opened, shown_in_full
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.rendition_names import Rendition, RenditionFormat, Shape
from flag_pipeline.images.structure import Limits

# Raise it when equal images give other bytes: every rendition is then made again.
RENDITIONS_VERSION = 1
# A circle's edge is drawn this many times larger, and scaled down to be smooth.
_FINENESS = 4
_MAX_WEBP_PX = 16_383


def full_picture(content: bytes, limits: Limits, *, px: int) -> Image.Image:
    """Return the first frame in RGBA and full size. Blocks.

    Both sides of a drawn SVG have at least *px* pixels, within the limit of pixels.

    Raises ImageError if the image is damaged or exceeds *limits*.
    """
    structure = read_structure(content)
    structure.check(limits)
    width, height = structure.size
    # A whole multiple, because rounded sides would have another ratio; one pixel more, because the renderer rounds.
    scale = min(math.ceil((px + 1) / min(width, height)), math.sqrt(limits.max_pixels / (width * height)))
    with opened(structure, (math.ceil(width * scale), math.ceil(height * scale))) as image:
        return shown_in_full(image, structure)


def render(picture: Image.Image, rendition: Rendition) -> Image.Image:
    """Return *picture*, in RGBA, as the rendition; it is padded, but never enlarged."""
    match rendition.shape:
        case Shape.WIDTH:
            return _reduced(picture, rendition.px / picture.width)
        case Shape.SQUARE:
            return _square(picture, rendition.px)
        case Shape.CIRCLE:
            return _cut_circle(_square(picture, rendition.px))
        case _:
            return _padded(picture, rendition.px)


def encode(picture: Image.Image, image_format: RenditionFormat) -> bytes:
    """Return the file, lossless and without metadata; equal pixels give equal bytes.

    Raises ImageError if the format has no such size.
    """
    buffer = io.BytesIO()
    if image_format is RenditionFormat.PNG:
        _without_needless_alpha(picture).save(buffer, "PNG", optimize=True)
    elif max(picture.size) > _MAX_WEBP_PX:
        raise ImageError(f"a side has {max(picture.size)} pixels, and a WebP at most {_MAX_WEBP_PX}: choose png")
    else:
        _without_needless_alpha(picture).save(buffer, "WEBP", lossless=True, exact=False)
    return buffer.getvalue()


def _reduced(picture: Image.Image, factor: float) -> Image.Image:
    if factor >= 1:
        return picture
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    # Pillow weights colours by their alpha, so transparent pixels leave no dark edge.
    return picture.resize(size, Image.Resampling.LANCZOS)


def _square(picture: Image.Image, px: int) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return _reduced(picture.crop((left, top, left + side, top + side)), px / side)


def _cut_circle(square: Image.Image) -> Image.Image:
    side = square.width
    mask = Image.new("L", (_FINENESS * side, _FINENESS * side))
    ImageDraw.Draw(mask).ellipse((0, 0, _FINENESS * side - 1, _FINENESS * side - 1), fill=255)
    circle = square.copy()
    mask = mask.resize(square.size, Image.Resampling.BOX)
    circle.putalpha(ImageChops.multiply(square.getchannel("A"), mask))
    return circle


def _padded(picture: Image.Image, px: int) -> Image.Image:
    small = _reduced(picture, px / max(picture.size))
    canvas = Image.new("RGBA", (px, px))
    canvas.paste(small, ((px - small.width) // 2, (px - small.height) // 2))
    return canvas


def _without_needless_alpha(picture: Image.Image) -> Image.Image:
    lowest, _ = picture.getchannel("A").getextrema()
    return picture.convert("RGB") if lowest == 255 else picture  # noqa: PLR2004
