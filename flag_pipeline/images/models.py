"""The values that describe an image."""

from dataclasses import dataclass

from flag_pipeline import bounds


@dataclass(frozen=True, slots=True)
class ColourShare:
    """One of an image's dominant colours.

    Attributes:
        hex: `#rrggbb`, lower case.
        share: of the visible pixels, 0 to 1, with three decimals.
    """

    hex: bounds.HexColour
    share: bounds.Share


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """What an image looks like, computed from its bytes.

    Attributes:
        mode: Pillow's word for how a pixel is stored, `P` or `RGBA`.
        colours: the dominant ones, largest share first, at most five.
        phash: 64-bit perceptual hash in 16 hex digits; similar pictures differ in few bits.
    """

    mode: str
    n_frames: int
    colours: tuple[ColourShare, ...]
    phash: str


@dataclass(frozen=True, slots=True)
class FlagImage:
    """A whole, decoded and accepted image, still as the bytes that came.

    Attributes:
        content: the original bytes.
        format: `gif`, `png`, `jpeg` or `webp`.
        width_px: as a browser shows it, with the orientation of its EXIF data applied; `height_px` likewise.
        sha256: lower-case hex digest of `content`.
        thumbnail: a `data:` URI that shows it in a page, at most about 4 KB of image.
    """

    content: bytes
    format: str
    width_px: int
    height_px: int
    sha256: str
    thumbnail: str
