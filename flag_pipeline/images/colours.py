"""Colour families: the colour names for searching flags.

A colour has the name of the nearest reference colour in OKLab, where equal distances look about equally different.
Source: B. Ottosson, "A perceptual color space for image processing", 2020.
"""

import math
from collections.abc import Iterable
from enum import StrEnum
from functools import cache

Rgb = tuple[int, int, int]
Lab = tuple[float, float, float]


class ColourFamily(StrEnum):
    """Colour names, in the order of the gallery."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    GREEN = "green"
    LIGHT_BLUE = "light blue"
    BLUE = "blue"
    PURPLE = "purple"
    BROWN = "brown"
    BLACK = "black"
    GREY = "grey"
    WHITE = "white"


# Our choice among the shades of flags: maroon and pink are red, lime is green, navy is blue, gold is yellow.
_REFERENCES = {
    ColourFamily.RED: ("#e4002b", "#f5322d", "#b5121b", "#8b1a3a", "#e8706e", "#f4a0a8"),
    ColourFamily.ORANGE: ("#ff8200", "#e06a1b", "#ff5f1f"),
    ColourFamily.YELLOW: ("#ffcd00", "#fff04d", "#d9b23c"),
    ColourFamily.GREEN: ("#009a44", "#006233", "#55b848", "#0c3b1e", "#a5c938"),
    ColourFamily.LIGHT_BLUE: ("#6cace4", "#00a3dd", "#1e90ff", "#a3c9ef"),
    ColourFamily.BLUE: ("#0039a6", "#001f6b", "#2a5db0", "#5b80bf", "#2c2b52"),
    ColourFamily.PURPLE: ("#7d3fa0",),
    ColourFamily.BROWN: ("#7b4a1e", "#a8743f", "#b8986b", "#55371a"),
    ColourFamily.BLACK: ("#000000", "#262626", "#3d3d3d"),
    ColourFamily.GREY: ("#5c5c5c", "#808080", "#a4a4a4", "#c4c4c4"),
    ColourFamily.WHITE: ("#ffffff", "#ececec"),
}
# Closer colours share a cell, so that JPEG noise does not cost a search per pixel.
_CELL = 8
# Distance to the line between two sRGB colours. A palette can merge the edges of two pairs of stripes.
_BLEND_DISTANCE = 38.0


def colour_family(rgb: Rgb) -> ColourFamily:
    """Return the family; channels are 0 to 255."""
    return _family_of_cell(rgb[0] // _CELL, rgb[1] // _CELL, rgb[2] // _CELL)


# 32,768 cells at most.
@cache
def _family_of_cell(*cell: int) -> ColourFamily:
    # The ends of the range stay: #000000 and #ffffff.
    red, green, blue = (round(at * 255 / (256 // _CELL - 1)) for at in cell)
    colour = _oklab((red, green, blue))
    return min((math.dist(colour, reference), family) for family, reference in _reference_points())[1]


@cache
def _reference_points() -> list[tuple[ColourFamily, Lab]]:
    return [(family, _oklab(rgb_of(code))) for family, codes in _REFERENCES.items() for code in codes]


def blended_from(rgb: Rgb, others: Iterable[Rgb]) -> Rgb | None:
    """Return the nearer of two *others* that *rgb* is a mixture of, as on a smoothed edge."""
    colours = list(others)
    for number, one in enumerate(colours):
        for other in colours[number + 1 :]:
            share = _share_in_mixture(rgb, one, other)
            if share is not None:
                return other if share > 0.5 else one  # noqa: PLR2004
    return None


def _share_in_mixture(rgb: Rgb, one: Rgb, other: Rgb) -> float | None:
    # Written out for speed.
    red, green, blue = one
    to_red, to_green, to_blue = other[0] - red, other[1] - green, other[2] - blue
    along = (rgb[0] - red) * to_red + (rgb[1] - green) * to_green + (rgb[2] - blue) * to_blue
    share = along / (to_red * to_red + to_green * to_green + to_blue * to_blue)
    if not 0 < share < 1:
        return None
    mixture = red + share * to_red, green + share * to_green, blue + share * to_blue
    return share if math.dist(rgb, mixture) < _BLEND_DISTANCE else None


def _oklab(rgb: Rgb) -> Lab:
    red, green, blue = (_linear(channel / 255) for channel in rgb)
    long = math.cbrt(0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue)
    medium = math.cbrt(0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue)
    short = math.cbrt(0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _linear(channel: float) -> float:
    # sRGB's transfer function, IEC 61966-2-1.
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4  # noqa: PLR2004


def hex_of(rgb: Rgb) -> str:
    """Return `#rrggbb`, lower case."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def rgb_of(code: str) -> Rgb:
    """Return the colour of `#rrggbb`."""
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)
