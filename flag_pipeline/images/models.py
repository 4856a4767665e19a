"""Descriptions of an image."""

from dataclasses import dataclass
from typing import Protocol

from flag_pipeline import bounds


@dataclass(frozen=True, slots=True)
class ColourShare:
    """One of an image's dominant colours.

    Attributes:
        hex: `#rrggbb`, lower case.
        share: share of the visible pixels, 0 to 1, three decimals.
    """

    hex: bounds.HexColour
    share: bounds.Share


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """How an image looks, computed from its bytes.

    Attributes:
        mode: Pillow's pixel mode, such as `P` or `RGBA`.
        colours: at most five, largest share first.
        phash: 64-bit perceptual hash, 16 hex digits.
    """

    mode: str
    n_frames: int
    colours: tuple[ColourShare, ...]
    phash: str


@dataclass(frozen=True, slots=True)
class FlagImage:
    """An image that was decoded completely and accepted.

    Attributes:
        content: the bytes as they were received.
        format: a name of `formats.FORMATS`.
        width_px, height_px: as a browser shows the image, after its EXIF orientation is applied.
        sha256: lower-case hex digest of `content`.
        thumbnail: a `data:` URI for a page, at most about 4 KB of image.
    """

    content: bytes
    format: str
    width_px: int
    height_px: int
    sha256: str
    thumbnail: str


class StoredDescription(Protocol):
    """What a record states about an image; the thumbnail can be empty."""

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
