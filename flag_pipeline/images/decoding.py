"""Decodes images with Pillow, as browsers show them; SVGs are drawn with resvg."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pkgutil import resolve_name

from PIL import Image, ImageMath

from flag_pipeline.errors import ImageError, LocalError
from flag_pipeline.images.formats import FORMATS, GIF, read_structure
from flag_pipeline.images.structure import Structure
from flag_pipeline.images.svg import RENDERED_PX
from flag_pipeline.images.svg_renderer import RENDERER

COARSE_PX = (1280, 960)

# `Image.open` would try other formats. Without these imports, Pillow imports all plugins to save a WebP.
# Imports the plugins for saving now, because a process may later be out of open files.
Image.preinit()
_PILLOW_CLASSES = {name: resolve_name(f"PIL.{image_format.pillow_class}") for name, image_format in FORMATS.items()}

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
def opened(structure: Structure, box: tuple[int, int] = RENDERED_PX) -> Iterator[Image.Image]:
    """Open the image, which is decoded on use; SVGs are drawn to fit in *box*.

    Raises ImageError if it is damaged, LocalError if memory or open files run out.
    """
    is_drawn_first = FORMATS[structure.format].is_drawn_first
    content = RENDERER.draw(structure, box) if is_drawn_first else structure.drawing
    try:
        with _PILLOW_CLASSES[structure.format](io.BytesIO(content)) as image:
            if is_drawn_first:
                _require_pixels(image)
            yield image
    except MemoryError as exc:
        raise LocalError("there is no memory left to decode an image") from exc
    # The boundary of the decoder: damaged bytes raise almost any exception in Pillow.
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise LocalError(f"cannot decode an image: {exc.strerror}") from exc
        raise ImageError(f"the {structure.format} is damaged: {_reason(exc)}") from exc


def _require_pixels(image: Image.Image) -> None:
    if image.getchannel("A").getbbox() is None:
        raise ImageError("it draws nothing")


def _reason(exc: Exception) -> str:
    return str(exc).split("<_io.")[0].strip()[:100] or type(exc).__name__


def first_frame(content: bytes, box: tuple[int, int] = RENDERED_PX) -> Image.Image:
    """Return the first frame that browsers show, as `as_shown`; for *box* see `opened`. Blocks.

    Raises ImageError if damaged.
    """
    structure = read_structure(content)
    with opened(structure, box) as image:
        return as_shown(image, structure)


def as_shown(image: Image.Image, structure: Structure) -> Image.Image:
    """Return the current frame in RGB or RGBA, at most COARSE_PX large; changes *image*.

    Scaling comes first, because converting copies the image.
    """
    return _shown(image, structure, COARSE_PX)


def without_alpha(picture: Image.Image) -> Image.Image:
    """Return an opaque picture in RGB, which scales in half the time."""
    is_opaque = picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255)
    return picture.convert("RGB") if is_opaque else picture


def shown_in_full(image: Image.Image, structure: Structure) -> Image.Image:
    """Like `as_shown`, in RGBA and full size."""
    return _shown(image, structure, image.size).convert("RGBA")


def _shown(image: Image.Image, structure: Structure, max_size: tuple[int, int]) -> Image.Image:
    if getattr(image, "default_image", False):
        # Browsers show the first animation frame instead.
        with suppress(EOFError):
            image.seek(1)
    full_width = image.width
    image.thumbnail(max_size, Image.Resampling.NEAREST)
    picture = _with_alpha(image, structure.bits)
    box = tuple(round(edge * image.width / full_width) for edge in structure.box)
    if structure.format == GIF and box != (0, 0, *picture.size):
        picture = _clear_outside(picture, box)
    return picture.transpose(_TURNS[structure.orientation]) if structure.orientation in _TURNS else picture


def _clear_outside(picture: Image.Image, box: tuple[int, ...]) -> Image.Image:
    # Outside the frame, Pillow paints the first palette colour.
    left, top, right, bottom = box
    canvas = Image.new("RGBA", picture.size)
    canvas.paste(picture.crop((left, top, right, bottom)), (left, top))
    return canvas


def _with_alpha(image: Image.Image, bits: int) -> Image.Image:
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        # Pillow's conversion turns values above 255 white.
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
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
