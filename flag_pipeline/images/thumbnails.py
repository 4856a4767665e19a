"""Small pictures of flags: thumbnails for a page, and a before-and-after of a change.

What comes in is within the limits; ImageError says that it is damaged all the same. The same input gives the same
bytes.
"""

import base64
import io
from contextlib import suppress

from PIL import Image, ImageDraw

from flag_pipeline.bounds import EXTENSIONS
from flag_pipeline.errors import ImageError
from flag_pipeline.images.decoding import first_frame

Size = tuple[int, int]

_PAIR_BOX, _ARROW_PX, _INK = (132, 88), 40, "#767676"
_FORMAT_OF = {extension: kind for kind, extension in EXTENSIONS.items()}


def fit(content: bytes, box: Size) -> Image.Image:
    """Return the first frame as large as it fits into *box*; small ones are enlarged by a whole factor, unblurred."""
    return enlarge(reduce(content, box), box)


def reduce(content: bytes, box: Size) -> Image.Image:
    """Return the first frame, made smaller if it does not fit into *box*."""
    picture = first_frame(content)
    picture.thumbnail(box, Image.Resampling.LANCZOS)
    return picture


def enlarge(picture: Image.Image, box: Size) -> Image.Image:
    """Return *picture* as many times larger as it fits into *box*: a whole number of times, unblurred."""
    factor = max(1, min(box[0] // picture.width, box[1] // picture.height))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def encode_png(picture: Image.Image, *, colours: int = 64) -> bytes:
    """Return the picture as a PNG of at most so many colours."""
    buffer = io.BytesIO()
    picture.quantize(colours, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode_small_png(picture: Image.Image, *, max_bytes: int) -> bytes:
    """Return the picture as a PNG of at most *max_bytes*, and make it as much smaller as that takes."""
    while len(png := encode_png(picture)) > max_bytes and min(picture.size) > 1:
        picture.thumbnail((picture.width * 3 // 4, picture.height * 3 // 4))
    return png


def thumbnail_uri(content: bytes, file: str, *, box: Size, max_bytes: int, n_frames: int | None = 1) -> str:
    """Return a `data:` URI of the flag, at most *max_bytes* of image.

    A still image that is small enough goes as it is. *file* is its path, whose ending says what it is.
    """
    kind = _FORMAT_OF[file.rpartition(".")[2]]
    if len(content) <= max_bytes and n_frames == 1:
        return data_uri(content, kind)
    return data_uri(encode_small_png(fit(content, box), max_bytes=max_bytes), "png")


def data_uri(content: bytes, kind: str) -> str:
    """Return *content* as a `data:` URI of an image of that kind."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def before_and_after(old: bytes | None, new: bytes | None) -> bytes:
    """Return a PNG of two flags with an arrow between; a flag that is not kept or is damaged is a crossed frame."""
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
        # A white field would fade into the page.
        draw.rectangle((x, y, x + flag.width - 1, y + flag.height - 1), outline=_INK)
    middle = height // 2
    draw.line((width + 10, middle, width + 30, middle), fill=_INK, width=3)
    draw.polygon([(width + 24, middle - 7), (width + 33, middle), (width + 24, middle + 7)], fill=_INK)
    return encode_png(pair)


def _fit_if_whole(content: bytes) -> Image.Image | None:
    with suppress(ImageError):
        return fit(content, _PAIR_BOX)
    return None
