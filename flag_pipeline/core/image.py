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

MAX_THUMBNAIL_BYTES = 4096
THUMBNAIL_PX = (160, 120)

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
    Image.DecompressionBombWarning,
)


def inspect_image(content: bytes, *, code: str, url: str, formats: Iterable[str], max_pixels: int) -> FlagImage:
    """Return *content* as the image that it is, after decoding all of it. Blocks; run it in a thread.

    The format is what the bytes say, one of *formats*; *max_pixels* bounds width x height x frames and is checked
    before decoding. Raises SourceContractError for anything else: HTML, a truncated file, a bomb.
    """
    try:
        with Image.open(io.BytesIO(content), formats=[name.upper() for name in formats]) as image:
            _check_size(image, max_pixels)
            kind, (width_px, height_px) = (image.format or "").lower(), image.size
            _decode(image)
    except _BROKEN as exc:
        wanted = ", ".join(sorted(formats))
        reason = str(exc).split("<_io.")[0].strip()[:100]
        raise SourceContractError(f"not a whole image ({wanted}): {reason}", code=code, url=url) from exc
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


def _check_size(image: Image.Image, max_pixels: int) -> None:
    # Counting the frames of a GIF walks through the file, so a single frame's size is held against the cap first.
    width_px, height_px = image.size
    if width_px * height_px <= max_pixels:
        pixels = width_px * height_px * getattr(image, "n_frames", 1)
        if pixels <= max_pixels:
            return
    raise ValueError(f"{width_px}x{height_px} is more than {max_pixels} pixels")


def _decode(image: Image.Image) -> None:
    for frame in range(getattr(image, "n_frames", 1)):
        image.seek(frame)
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
        small = image.convert("RGBA")
    small.thumbnail(THUMBNAIL_PX)
    while True:
        buffer = io.BytesIO()
        small.quantize(64).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MAX_THUMBNAIL_BYTES or min(small.size) <= 1:
            return buffer.getvalue()
        small.thumbnail((small.width * 3 // 4, small.height * 3 // 4))
