"""Colour families: the colour names for searching flags."""

import colorsys
from bisect import bisect_right
from enum import StrEnum

Rgb = tuple[int, int, int]


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


# In degrees. Red includes 0.
_HUE_ENDS = (18, 38, 70, 165, 212, 262, 330)
_HUES = (
    ColourFamily.RED,
    ColourFamily.ORANGE,
    ColourFamily.YELLOW,
    ColourFamily.GREEN,
    ColourFamily.LIGHT_BLUE,
    ColourFamily.BLUE,
    ColourFamily.PURPLE,
    ColourFamily.RED,
)
# Value and saturation, 0 to 1. Navy is blue, charcoal is black.
_BLACK_BELOW, _CHARCOAL_BELOW, _WHITE_FROM, _BROWN_BELOW = 0.15, 0.35, 0.8, 0.55
_COLOURLESS_BELOW, _PALE_BELOW = 0.2, 0.5


def colour_family(rgb: Rgb) -> ColourFamily:
    """Return the family; channels are 0 to 255."""
    largest, smallest = max(rgb), min(rgb)
    value, saturation = largest / 255, (largest - smallest) / largest if largest else 0.0
    if value < _BLACK_BELOW or (value < _CHARCOAL_BELOW and saturation < _PALE_BELOW):
        return ColourFamily.BLACK
    if saturation < _COLOURLESS_BELOW:
        return ColourFamily.WHITE if value >= _WHITE_FROM else ColourFamily.GREY
    family = _HUES[bisect_right(_HUE_ENDS, colorsys.rgb_to_hsv(*(channel / 255 for channel in rgb))[0] * 360)]
    if family is ColourFamily.ORANGE and value < _BROWN_BELOW:
        return ColourFamily.BROWN
    if family is ColourFamily.BLUE and saturation < _PALE_BELOW and value >= _BROWN_BELOW:
        return ColourFamily.LIGHT_BLUE
    return family


def hex_of(rgb: Rgb) -> str:
    """Return `#rrggbb`, lower case."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def rgb_of(code: str) -> Rgb:
    """Return the colour of `#rrggbb`."""
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)
