"""Names of renditions, such as `w160`, and their formats."""

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_RENDITION_PX = 2000

_NAME = re.compile(r"(w|square|circle|pad)([1-9][0-9]{0,3})")


class Shape(StrEnum):
    """What a rendition does with the sides."""

    WIDTH = "w"
    SQUARE = "square"
    CIRCLE = "circle"
    PAD = "pad"


class RenditionFormat(StrEnum):
    """The format; its value is the extension."""

    PNG = "png"
    WEBP = "webp"


@dataclass(frozen=True, slots=True)
class Rendition:
    """A size and shape.

    `w160` is 160 pixels wide. `square64` is cropped to the centre, `circle64` also to a circle. `pad64` is the whole
    image on a transparent square.

    Attributes:
        px: the width; but for `w`, also the height.
    """

    shape: Shape
    px: int

    @property
    def name(self) -> str:
        """The name in settings, paths and tables."""
        return f"{self.shape}{self.px}"


def parse_rendition(name: str) -> Rendition:
    """Return the rendition. Raises ValueError if there is none."""
    found = _NAME.fullmatch(name.strip().lower())
    if found is None or int(found[2]) > MAX_RENDITION_PX:
        raise ValueError(
            f"{name!r} is not a rendition: use w, square, circle or pad and a number of pixels up to "
            f"{MAX_RENDITION_PX}, such as w160 or circle64"
        )
    return Rendition(Shape(found[1]), int(found[2]))
