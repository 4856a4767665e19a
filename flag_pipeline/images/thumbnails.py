"""Thumbnails and before-and-after pictures. Damaged images raise ImageError."""

import base64
import io
from contextlib import suppress

from PIL import Image, ImageDraw

from flag_pipeline.errors import ImageError
from flag_pipeline.images.decoding import first_frame, without_alpha
from flag_pipeline.images.formats import FORMATS

Size = tuple[int, int]

# Twice the pixels of an 80 px wide card, or all of a large one's.
THUMBNAIL_BOX = (160, 120)
# In place of an SVG, which is never shown itself.
PICTURE_BOX = (1280, 960)
_LOSSLESS_PX = 64

EVENT_BOX, MAX_EVENT_CHARS = (64, 48), 1024

_PAIR_BOX, _ARROW_PX, _INK = (132, 88), 40, "#767676"


def fit(content: bytes, box: Size) -> Image.Image:
    """Return the first frame, scaled to *box*."""
    return enlarge(reduce(content, box), box)


def reduce(content: bytes, box: Size) -> Image.Image:
    """Return the first frame in RGBA, scaled down to *box*."""
    return shrink(first_frame(content, box), box).convert("RGBA")


def shrink(picture: Image.Image, box: Size) -> Image.Image:
    """Return *picture* scaled down to *box*, in RGB if it is opaque."""
    picture = without_alpha(picture)
    # Averaging whole pixels first halves the time. Pillow does so only without an alpha channel.
    picture.thumbnail(box, Image.Resampling.BICUBIC, reducing_gap=1.0)
    return picture


def draw_thumbnail(content: bytes, box: Size = THUMBNAIL_BOX) -> bytes:
    """Return the first frame as a WebP, scaled down to *box*; equal flags give equal bytes."""
    return encode_thumbnail(reduce(content, box))


def encode_thumbnail(picture: Image.Image) -> bytes:
    """Return a picture of `reduce` as a WebP of a few kilobytes."""
    if max(picture.size) <= _LOSSLESS_PX:
        return _encode_webp(picture, lossless=True)
    # A third larger than with method 4, in half the time (4.7 kB GIFs of 400x268 px).
    return _encode_webp(picture, quality=75, method=2)


def event_thumbnail(picture: Image.Image) -> str:
    """Return *picture*, scaled to `EVENT_BOX`, as a `data:` URI of at most `MAX_EVENT_CHARS`."""
    picture = shrink(picture, EVENT_BOX)
    while len(uri := data_uri(_encode_webp(picture, quality=50, method=2), "webp")) > MAX_EVENT_CHARS:
        picture.thumbnail((picture.width * 3 // 4, picture.height * 3 // 4))
    return uri


def _encode_webp(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", **options)
    return buffer.getvalue()


def thumbnail_size(width_px: int, height_px: int, *, is_vector: bool = False) -> Size:
    """Return the size of a flag's thumbnail, give or take a pixel; only vectors are enlarged."""
    scale = min(THUMBNAIL_BOX[0] / width_px, THUMBNAIL_BOX[1] / height_px, *([] if is_vector else [1]))
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def enlarge(picture: Image.Image, box: Size) -> Image.Image:
    """Return *picture* enlarged by a whole factor."""
    factor = max(1, min(box[0] // picture.width, box[1] // picture.height))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def encode_png(picture: Image.Image, *, colours: int = 64) -> bytes:
    """Return *picture* as a PNG."""
    buffer = io.BytesIO()
    picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(content: bytes, format_name: str) -> str:
    """Return *content* as a `data:` URI."""
    return f"data:{FORMATS[format_name].media_type};base64,{base64.b64encode(content).decode()}"


def read_data_uri(uri: str) -> bytes:
    """Return the content of a `data:` URI. Raises ImageError if it is damaged."""
    try:
        return base64.b64decode(uri.partition(",")[2])
    except ValueError as exc:
        raise ImageError("the thumbnail is damaged") from exc


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
