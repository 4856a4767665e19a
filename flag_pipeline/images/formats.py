"""The accepted image formats."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from flag_pipeline.errors import ImageError
from flag_pipeline.images.byte_ranges import skip_padding
from flag_pipeline.images.gif import read_gif
from flag_pipeline.images.jpeg import read_jpeg
from flag_pipeline.images.png import read_png
from flag_pipeline.images.structure import Structure
from flag_pipeline.images.svg import read_svg
from flag_pipeline.images.webp import read_webp

# Raised when `thumbnails.draw_thumbnail` draws other files.
THUMBNAIL_VERSION = 2


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """An image format.

    Attributes:
        extension: without the dot.
        signature: regular expression.
        read: raises ImageError, or `struct.error` or IndexError for a cut file.
        pillow_class: `module:class`, imported on demand.
        is_drawn_first: never shown itself, because it can be more than a picture; Pillow reads its drawing.
    """

    name: str
    extension: str
    media_type: str
    signature: bytes
    read: Callable[[bytes], Structure]
    pillow_class: str
    is_drawn_first: bool = False


GIF, SVG = "gif", "svg"
# In any order; an atomic group, so nothing is tried twice.
_BEFORE_SVG = rb"\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE\s+svg[^\[>]*(?:\[.*?\]\s*)?>"
_SVG_START = rb"(?:\xef\xbb\xbf)?+(?>%b)*+<(?:[\w.-]+:)?svg[\s/>]" % _BEFORE_SVG

_ALL = (
    ImageFormat(GIF, "gif", "image/gif", rb"GIF8[79]a", read_gif, "GifImagePlugin:GifImageFile"),
    ImageFormat("png", "png", "image/png", rb"\x89PNG\r\n\x1a\n", read_png, "PngImagePlugin:PngImageFile"),
    ImageFormat("jpeg", "jpg", "image/jpeg", rb"\xff\xd8\xff", read_jpeg, "JpegImagePlugin:JpegImageFile"),
    ImageFormat("webp", "webp", "image/webp", rb"RIFF....WEBP", read_webp, "WebPImagePlugin:WebPImageFile"),
    ImageFormat(SVG, "svg", "image/svg+xml", _SVG_START, read_svg, "PngImagePlugin:PngImageFile", is_drawn_first=True),
)
FORMATS = {one.name: one for one in _ALL}


def read_structure(content: bytes) -> Structure:
    """Return the structure without decoding, in linear time.

    Raises ImageError for another format, a cut file or inconsistent blocks.
    """
    found = next((one for one in _ALL if re.match(one.signature, content, re.DOTALL)), None)
    if found is None:
        raise ImageError(f"not a whole image ({', '.join(sorted(FORMATS))})")
    try:
        structure = found.read(content)
    except (struct.error, IndexError) as exc:
        raise ImageError(f"the {found.name} is cut short") from exc
    if not all(structure.size):
        raise ImageError(f"the {found.name} has no pixels")
    return structure


def check_end(content: bytes, structure: Structure) -> None:
    """Raise ImageError if more than padding follows, because it may be a script."""
    if skip_padding(content, structure.size_bytes) < len(content):
        n_bytes = len(content) - structure.size_bytes
        raise ImageError(f"{n_bytes:,} bytes after the end of the picture")
