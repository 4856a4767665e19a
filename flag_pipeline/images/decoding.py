"""The one place where Pillow opens a picture, and the frame of it that a browser shows at first."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from PIL import Image, ImageMath
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from flag_pipeline.errors import ImageError, LocalError
from flag_pipeline.images.blocks import read_structure
from flag_pipeline.images.structure import Structure

COARSE_PX = (1280, 960)

# `Image.open` would try more formats, and open a JPEG with further pictures as MPO.
_DECODERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "gif": GifImageFile,
    "png": PngImageFile,
    "jpeg": JpegImageFile,
    "webp": WebPImageFile,
}

# What turns a picture upright, by EXIF's number for its orientation.
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
    """Open the picture inside the block; Pillow decodes when the block asks for pixels.

    Whatever is raised because of the picture's bytes leaves as ImageError; LocalError says that this computer has no
    files or no memory left.
    """
    try:
        with _DECODERS[structure.format](io.BytesIO(structure.drawing)) as image:
            yield image
    except MemoryError as exc:
        raise LocalError("there is no memory left to decode an image") from exc
    # The boundary of the decoder: Pillow and the libraries below raise nearly every class because of damaged bytes,
    # warnings among them, and other classes in each version. None of it may cost another country.
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise LocalError(f"cannot decode an image: {exc.strerror}") from exc
        raise ImageError(f"the {structure.format} is damaged: {_reason(exc)}") from exc


def _reason(exc: Exception) -> str:
    return str(exc).split("<_io.")[0].strip()[:100] or type(exc).__name__


def first_frame(content: bytes) -> Image.Image:
    """Return the frame of a stored picture that a browser shows at first, coarsely. Blocks.

    Raises ImageError when *content* is damaged.
    """
    structure = read_structure(content)
    with opened(structure) as image:
        return as_shown(image, structure)


def as_shown(image: Image.Image, structure: Structure) -> Image.Image:
    """Return the frame at which *image* stands as a browser shows it, in RGBA, and consume *image*.

    A large one is made smaller, coarsely: converting or smoothing copies an image at its full size. Raises what Pillow
    raises.
    """
    if getattr(image, "default_image", False):
        # Browsers show the animation's first frame instead, if there is one.
        with suppress(EOFError):
            image.seek(1)
    full_width = image.width
    image.thumbnail(COARSE_PX, Image.Resampling.NEAREST)
    picture = _with_alpha(image, structure.bits)
    box = tuple(round(edge * image.width / full_width) for edge in structure.box)
    if structure.format == "gif" and box != (0, 0, *picture.size):
        picture = _on_nothing(picture, box)
    return picture.transpose(_TURNS[structure.orientation]) if structure.orientation in _TURNS else picture


def _on_nothing(picture: Image.Image, box: tuple[int, ...]) -> Image.Image:
    """Return the picture with nothing around *box*, where Pillow puts the first colour of the palette."""
    left, top, right, bottom = box
    canvas = Image.new("RGBA", picture.size)
    canvas.paste(picture.crop((left, top, right, bottom)), (left, top))
    return canvas


def _with_alpha(image: Image.Image, bits: int) -> Image.Image:
    """Return *image* in RGBA; samples of other sizes than 8 *bits* are scaled, as is the colour that is no colour."""
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        # Pillow cuts what is above 255 to white.
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
