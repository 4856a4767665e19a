"""Decodes images with Pillow, as browsers show them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pkgutil import resolve_name

from PIL import Image, ImageMath

from flag_pipeline.errors import ImageError, LocalError
from flag_pipeline.images.formats import FORMATS, read_structure
from flag_pipeline.images.structure import Structure

COARSE_PX = (1280, 960)

# `Image.open` would try other formats, and open a JPEG with further pictures as MPO. Importing all classes now keeps
# Pillow from importing all its plugins when it saves a WebP.
_PILLOW_CLASSES = {name: resolve_name(f"PIL.{image_format.pillow_class}") for name, image_format in FORMATS.items()}

# By EXIF orientation, the operation that turns the image upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextmanager
def opened(structure: Structure) -> Iterator[Image.Image]:
    """Open the image; Pillow decodes it when the block uses its pixels.

    Raises ImageError if the image is damaged, LocalError if this computer has no open files or no memory left.
    """
    try:
        with _PILLOW_CLASSES[structure.format](io.BytesIO(structure.drawing)) as image:
            yield image
    except MemoryError as exc:
        raise LocalError("there is no memory left to decode an image") from exc
    # The boundary of the decoder: Pillow raises almost any exception for damaged bytes, other ones in each version.
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise LocalError(f"cannot decode an image: {exc.strerror}") from exc
        raise ImageError(f"the {structure.format} is damaged: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    return str(exc).split("<_io.")[0].strip()[:100] or type(exc).__name__


def first_frame(content: bytes) -> Image.Image:
    """Return the frame that a browser shows first. Blocks; run it in a thread. Raises ImageError if damaged."""
    structure = read_structure(content)
    with opened(structure) as image:
        return as_shown(image, structure)


def as_shown(image: Image.Image, structure: Structure) -> Image.Image:
    """Return the current frame of *image* in RGBA, at most COARSE_PX large; *image* is changed.

    It is scaled before it is converted, because converting or smoothing would copy it at full size.
    """
    if getattr(image, "default_image", False):
        # Browsers show the first frame of the animation instead of the default image.
        with suppress(EOFError):
            image.seek(1)
    full_width = image.width
    image.thumbnail(COARSE_PX, Image.Resampling.NEAREST)
    picture = _with_alpha(image, structure.bits)
    box = tuple(round(edge * image.width / full_width) for edge in structure.box)
    if structure.format == "gif" and box != (0, 0, *picture.size):
        picture = _clear_outside(picture, box)
    return picture.transpose(_TURNS[structure.orientation]) if structure.orientation in _TURNS else picture


def _clear_outside(picture: Image.Image, box: tuple[int, ...]) -> Image.Image:
    """Return *picture* transparent outside *box*, where Pillow paints the first colour of the palette."""
    left, top, right, bottom = box
    canvas = Image.new("RGBA", picture.size)
    canvas.paste(picture.crop((left, top, right, bottom)), (left, top))
    return canvas


def _with_alpha(image: Image.Image, bits: int) -> Image.Image:
    """Return *image* in RGBA, with samples and the transparent colour scaled to 8 bits."""
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        # Pillow's own conversion turns every value above 255 white.
        deep = image.convert("I")
        grey = deep.point(lambda value: value / 256).convert("L")
        picture = grey.convert("RGBA")
        if isinstance(clear, int):
            opaque = ImageMath.lambda_eval(lambda names: (names["deep"] != clear) * 255, deep=deep)
            picture.putalpha(opaque.convert("L"))
        return picture
    if image.mode == "L" and isinstance(clear, int) and bits < 8:  # noqa: PLR2004
        image.info["transparency"] = clear * 255 // (2**bits - 1)
    if image.mode == "RGB" and isinstance(clear, tuple) and bits > 8:  # noqa: PLR2004
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    return image.convert("RGBA")
