"""From bytes that claim to be an image to a `FlagImage`: allow-listed, bounded, decoded to the last pixel."""

import base64
import hashlib
import io
import struct
import zlib
from collections.abc import Iterable

from PIL import Image

from flag_pipeline.errors import SourceContractError
from flag_pipeline.models import FlagImage

# An animated flag has dozens of frames; each costs time however few pixels it has.
MAX_FRAMES = 500

MAX_THUMBNAIL_BYTES = 4096
THUMBNAIL_PX = (160, 120)
COARSE_PX = (1280, 960)

# A picture may end in padding; beyond this much of it the tail is somebody's payload.
_TAIL_BYTES = 1024

_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    # Where warnings are errors: a bomb, and what Pillow otherwise prints about files that it puts up with.
    Image.DecompressionBombWarning,
    UserWarning,
)


def inspect_image(content: bytes, *, code: str, url: str, formats: Iterable[str], max_pixels: int) -> FlagImage:
    """Return *content* as the image that it is, after decoding all of it. Blocks; run it in a thread.

    The format is what the bytes say, one of *formats*; *max_pixels* bounds width x height x frames and is checked
    before each frame is decoded. Raises SourceContractError for anything else: HTML, a truncated file, a bomb.
    """
    try:
        kind, width_px, height_px = _examine(content, formats, max_pixels)
    except _BROKEN as exc:
        wanted = ", ".join(sorted(formats))
        reason = str(exc).split("<_io.")[0].strip()[:100]
        raise SourceContractError(f"not a whole image ({wanted}): {reason}", code=code, url=url) from exc
    if kind not in formats:
        # Pillow takes a JPEG that holds several pictures for a format of its own.
        raise SourceContractError(f"{kind} is not accepted", code=code, url=url)
    if not _is_complete(kind, content):
        raise SourceContractError(f"the {kind} is cut short", code=code, url=url)
    digest = hashlib.sha256(content).hexdigest()
    return FlagImage(
        content=content,
        format=kind,
        width_px=width_px,
        height_px=height_px,
        sha256=digest,
        thumbnail=_thumbnail_uri(content, kind),
    )


def _examine(content: bytes, formats: Iterable[str], max_pixels: int) -> tuple[str, int, int]:
    """Decode all of the image and return its format and its size in pixels; what decoding took is free again."""
    with Image.open(io.BytesIO(content), formats=[name.upper() for name in formats]) as image:
        _decode(image, max_pixels)
        return (image.format or "").lower(), *image.size


def _decode(image: Image.Image, max_pixels: int) -> None:
    pixels_left = max_pixels
    for frame in range(MAX_FRAMES + 1):
        try:
            image.seek(frame)
        except EOFError:
            return
        pixels_left -= image.width * image.height
        if pixels_left < 0 or frame == MAX_FRAMES:
            raise ValueError(f"{image.width}x{image.height}: more than {max_pixels} pixels or {MAX_FRAMES} frames")
        image.load()


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


def _thumbnail_uri(content: bytes, kind: str) -> str:
    # Dagster keeps it in every event, so it has to stay small; most flags are small as they are.
    if len(content) > MAX_THUMBNAIL_BYTES:
        kind, content = "png", _shrink(content)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _shrink(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        # Coarsely first, in whatever mode it is: converting or smoothing copies an image, at its full size.
        image.thumbnail(COARSE_PX, Image.Resampling.NEAREST)
        small = image.convert("RGBA")
    small.thumbnail(THUMBNAIL_PX)
    while True:
        buffer = io.BytesIO()
        small.quantize(64).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MAX_THUMBNAIL_BYTES or min(small.size) <= 1:
            return buffer.getvalue()
        small.thumbnail((small.width * 3 // 4, small.height * 3 // 4))
