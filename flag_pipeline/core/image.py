"""From bytes that claim to be an image to a `FlagImage`: allow-listed, bounded, decoded to the last pixel."""

import hashlib
import io
import struct
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from PIL import Image

from flag_pipeline.core.look import coarse_frame
from flag_pipeline.core.open_files import is_local_trouble
from flag_pipeline.core.pictures import data_uri, encode_small_png
from flag_pipeline.errors import ErrorKind, SourceContractError, TransientSourceError
from flag_pipeline.models import FlagImage, StoredImage

# Pillow imports its formats in the first call that needs them: by then the process may have no file left to open.
Image.preinit()

# An animated flag has dozens of frames; each costs time however few pixels it has.
MAX_FRAMES = 500

MAX_THUMBNAIL_BYTES = 4096
THUMBNAIL_PX = (160, 120)

# A picture may end in padding; beyond this much of it the tail is somebody's payload.
_TAIL_BYTES = 1024

_BROKEN = (
    OSError,
    MemoryError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    # Where warnings are errors: a bomb, and what Pillow otherwise prints about files that it puts up with.
    Image.DecompressionBombWarning,
    UserWarning,
)


class _Limit(int):
    """Pillow's limit, of which it refuses the double; in a thread that has a cap of its own, the cap is that double.

    Pillow knows one limit for all. To lower it for a moment would refuse what other threads open meanwhile, and half
    a cap would have it warn of pictures that are within.
    """

    def __rmul__(self, factor: int) -> int:
        double: int = getattr(_own, "max_pixels", factor * int(self))
        return double


_own = threading.local()
Image.MAX_IMAGE_PIXELS = _Limit(Image.MAX_IMAGE_PIXELS or sys.maxsize)


@contextmanager
def _at_most(max_pixels: int) -> Iterator[None]:
    """Have Pillow itself refuse what is larger, in this thread: it makes room for a frame before we see its size."""
    _own.max_pixels = max_pixels
    try:
        yield
    except Image.DecompressionBombError as exc:
        raise ValueError(f"more than {max_pixels} pixels") from exc
    finally:
        del _own.max_pixels


def is_own_thumbnail(content: bytes) -> bool:
    """Whether the flag is shown as it is: Dagster keeps thumbnails in every event, so they have to stay small."""
    return len(content) <= MAX_THUMBNAIL_BYTES


def inspect_image(content: bytes, *, code: str, url: str, formats: Iterable[str], max_pixels: int) -> FlagImage:
    """Return *content* as the image that it is, after decoding all of it. Blocks; run it in a thread.

    The format is what the bytes say, one of *formats*; *max_pixels* bounds width x height x frames and is checked
    before room is made for a frame. Raises SourceContractError for anything else: HTML, a truncated file, a bomb.
    """
    try:
        with _at_most(max_pixels), Image.open(io.BytesIO(content), formats=[name.upper() for name in formats]) as image:
            kind, (width_px, height_px) = (image.format or "").lower(), image.size
            _decode(image, max_pixels)
            image.seek(0)
            thumbnail = data_uri(content, kind) if is_own_thumbnail(content) else _shrink(image)
    except _BROKEN as exc:
        if is_local_trouble(exc):
            reason = f"this machine could not decode the image: {exc}"
            raise TransientSourceError(reason, code=code, url=url, kind=ErrorKind.LOCAL) from exc
        wanted = ", ".join(sorted(formats))
        reason = str(exc).split("<_io.")[0].strip()[:100]
        raise SourceContractError(f"not a whole image ({wanted}): {reason}", code=code, url=url) from exc
    if kind not in formats:
        # Pillow takes a JPEG that holds several pictures for a format of its own.
        raise SourceContractError(f"{kind} is not accepted", code=code, url=url)
    if not _is_complete(kind, content):
        raise SourceContractError(f"the {kind} is cut short", code=code, url=url)
    return FlagImage(
        content=content,
        format=kind,
        width_px=width_px,
        height_px=height_px,
        sha256=hashlib.sha256(content).hexdigest(),
        thumbnail=thumbnail,
    )


def recall_image(content: bytes, known: StoredImage) -> FlagImage:
    """Return the image that *content* was found to be when it was stored; it still has that hash.

    Nothing is decoded, but for a thumbnail that a record does not have yet: that blocks, so run it in a thread.
    """
    thumbnail = data_uri(content, known.format) if is_own_thumbnail(content) else known.thumbnail
    if not thumbnail:
        with Image.open(io.BytesIO(content)) as image:
            thumbnail = _shrink(image)
    return FlagImage(
        content=content,
        format=known.format,
        width_px=known.width_px,
        height_px=known.height_px,
        sha256=known.sha256,
        thumbnail=thumbnail,
    )


def _decode(image: Image.Image, max_pixels: int) -> None:
    n_frames, pixels_left = 0, max_pixels
    while True:
        try:
            image.seek(n_frames)
        except EOFError:
            return
        pixels_left -= image.width * image.height
        if pixels_left < 0 or n_frames == MAX_FRAMES:
            raise ValueError(f"{image.width}x{image.height}: more than {max_pixels} pixels or {MAX_FRAMES} frames")
        image.load()
        n_frames += 1


def _is_complete(kind: str, content: bytes) -> bool:
    """Whether the format's own end mark is there; Pillow forgives its absence."""
    tail = content[-_TAIL_BYTES:]
    match kind:
        case "gif":
            return tail.rstrip(b"\0").endswith(b";")
        case "png":
            return b"IEND\xaeB`\x82" in tail
        case "jpeg":
            return b"\xff\xd9" in tail
        case _:
            return len(content) >= 8 + int.from_bytes(content[4:8], "little")


def _shrink(image: Image.Image) -> str:
    small = coarse_frame(image)
    small.thumbnail(THUMBNAIL_PX)
    return data_uri(encode_small_png(small, max_bytes=MAX_THUMBNAIL_BYTES), "png")
