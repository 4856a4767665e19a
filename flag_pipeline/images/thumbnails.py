"""Thumbnails and before-and-after pictures. Damaged images raise ImageError."""

import base64
import io
from contextlib import suppress

from PIL import Image, ImageDraw

from flag_pipeline.errors import ImageError
from flag_pipeline.images.decoding import first_frame
from flag_pipeline.images.formats import FORMATS, format_of_file

Size = tuple[int, int]

_PAIR_BOX, _ARROW_PX, _INK = (132, 88), 40, "#767676"


def fit(content: bytes, box: Size) -> Image.Image:
    """Return the first frame, scaled to *box*."""
    return enlarge(reduce(content, box), box)


def reduce(content: bytes, box: Size) -> Image.Image:
    """Return the first frame, scaled down to *box*."""
    picture = first_frame(content, box)
    picture.thumbnail(box, Image.Resampling.LANCZOS)
    return picture


def enlarge(picture: Image.Image, box: Size) -> Image.Image:
    """Return *picture* enlarged by a whole factor."""
    factor = max(1, min(box[0] // picture.width, box[1] // picture.height))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def encode_png(picture: Image.Image, *, colours: int = 64) -> bytes:
    """Return *picture* as a PNG."""
    buffer = io.BytesIO()
    picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_small_png(picture: Image.Image, *, max_bytes: int) -> bytes:
    """Return *picture* as a PNG, scaled down until it fits."""
    while len(png := encode_png(picture)) > max_bytes and min(picture.size) > 1:
        picture.thumbnail((picture.width * 3 // 4, picture.height * 3 // 4))
    return png


def thumbnail_uri(content: bytes, file: str, *, box: Size, max_bytes: int, n_frames: int | None = 1) -> str:
    """Return a `data:` URI: the image, or a thumbnail if it is large, animated or an SVG."""
    image_format = format_of_file(file)
    if len(content) <= max_bytes and n_frames == 1 and not image_format.is_drawn_first:
        return data_uri(content, image_format.name)
    return data_uri(encode_small_png(fit(content, box), max_bytes=max_bytes), "png")


def data_uri(content: bytes, format_name: str) -> str:
    """Return *content* as a `data:` URI."""
    return f"data:{FORMATS[format_name].media_type};base64,{base64.b64encode(content).decode()}"


def before_and_after(old: bytes | None, new: bytes | None) -> bytes:
    """Return a PNG of both; missing or damaged ones are crossed out."""
    width, height = _PAIR_BOX
    pair = Image.new("RGBA", (2 * width + _ARROW_PX, height))
    draw = ImageDraw.Draw(pair)
    for content, left in ((old, 0), (new, width + _ARROW_PX)):
        flag = None if content is None else _fit_if_whole(content)
        if flag is None:
            draw.rectangle((left, 0, left + width - 1, height - 1), outline=_INK)
            draw.line((left, 0, left + width - 1, height - 1), fill=_INK)
            continue
        x, y = left + (width - flag.width) // 2, (height - flag.height) // 2
        pair.paste(flag, (x, y))
        draw.rectangle((x, y, x + flag.width - 1, y + flag.height - 1), outline=_INK)
    middle = height // 2
    draw.line((width + 10, middle, width + 30, middle), fill=_INK, width=3)
    draw.polygon([(width + 24, middle - 7), (width + 33, middle), (width + 24, middle + 7)], fill=_INK)
    return encode_png(pair)


def _fit_if_whole(content: bytes) -> Image.Image | None:
    with suppress(ImageError):
        return fit(content, _PAIR_BOX)
    return None
