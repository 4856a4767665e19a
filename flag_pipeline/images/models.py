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
        aspect_ratio: without a transparent margin, `3:2` or `about 3:2`; empty in version 1.
        aspect_decimal: width by height, four decimals.
    """

    mode: bounds.PixelMode
    n_frames: bounds.Count
    colours: tuple[ColourShare, ...]
    phash: bounds.Phash
    aspect_ratio: bounds.AspectRatio = ""
    aspect_decimal: bounds.Decimal = 0.0


@dataclass(frozen=True, slots=True)
class Derived:
    """What was computed from an image's bytes.

    Attributes:
        version: `inspection.DERIVED_VERSION` of that code.
        thumbnail: a `data:` URI of at most `thumbnails.MAX_EVENT_CHARS`.
    """

    version: bounds.DerivedVersion
    features: ImageFeatures
    thumbnail: bounds.Thumbnail


@dataclass(frozen=True, slots=True)
class FlagImage:
    """A completely decoded, accepted image.

    Attributes:
        format: a name of `formats.FORMATS`.
        width_px, height_px: after the EXIF orientation is applied.
        page_thumbnail: a WebP; empty if *derived* was known.
    """

    content: bytes
    format: str
    width_px: int
    height_px: int
    sha256: str
    derived: Derived
    page_thumbnail: bytes = b""


class StoredDescription(Protocol):
    """An image in a record."""

    @property
    def format(self) -> str: ...  # noqa: D102
    @property
    def width_px(self) -> int: ...  # noqa: D102
    @property
    def height_px(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def derived(self) -> Derived | None: ...  # noqa: D102
