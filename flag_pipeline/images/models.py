"""Descriptions of an image."""

from dataclasses import dataclass
from typing import Protocol

from flag_pipeline import bounds


@dataclass(frozen=True, slots=True)
class ColourShare:
    """A dominant colour.

    Attributes:
        hex: `#rrggbb`, lower case.
        share: of the visible pixels, 0 to 1, three decimals.
    """

    hex: bounds.HexColour
    share: bounds.Share


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """How an image looks.

    Attributes:
        mode: Pillow's pixel mode.
        colours: at most six, largest share first.
        phash: 16 hex digits.
        aspect_ratio: of the flag without a transparent margin, `3:2` or `about 3:2`.
        aspect_decimal: its width divided by its height, four decimals.
    """

    mode: str
    n_frames: int
    colours: tuple[ColourShare, ...]
    phash: str
    aspect_ratio: str
    aspect_decimal: float


@dataclass(frozen=True, slots=True)
class FlagImage:
    """A completely decoded, accepted image.

    Attributes:
        format: a name of `formats.FORMATS`.
        width_px, height_px: after the EXIF orientation is applied.
        thumbnail: a `data:` URI of at most about 4 KB.
    """

    content: bytes
    format: str
    width_px: int
    height_px: int
    sha256: str
    thumbnail: str


class StoredDescription(Protocol):
    """An image in a record; the thumbnail can be empty."""

    @property
    def format(self) -> str: ...  # noqa: D102
    @property
    def width_px(self) -> int: ...  # noqa: D102
    @property
    def height_px(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def thumbnail(self) -> str: ...  # noqa: D102
