"""Dominant colours, aspect ratio and perceptual hash of an image.

Records and catalogs keep unchanged images' features, so changed results need a new `FEATURES_VERSION` and
`CATALOG_SCHEMA`.
"""

import math
from collections import Counter
from functools import cache
from operator import mul
from statistics import median
from typing import Any

from PIL import Image

from flag_pipeline.images.aspect import decimal_ratio, name_ratio
from flag_pipeline.images.colours import ColourFamily, Rgb, blended_from, colour_family, hex_of
from flag_pipeline.images.decoding import as_shown, opened, without_alpha
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.models import ColourShare, ImageFeatures

FEATURES_VERSION = 2

MAX_COLOURS = 6
# Smaller shares are blurred edges.
MIN_SHARE = 0.015

# Divisible by flags' numbers of stripes. Single pixels, because averages would be new colours.
_SAMPLE_PX, _FEW_PX, _OPAQUE = (96, 72), (48, 36), 128
_MAX_COLOURS = math.prod(_SAMPLE_PX)
# More than a palette has: JPEG noise, which is rounded away.
_MANY_COLOURS, _ROUNDED_TO = 256, 8
# A smoothed edge can fill two rows of the sample.
_MAX_BLENDED_SHARE = 0.1
_HASH_INPUT_PX, _HASH_SIDE = 16, 8
_MID_GREY = 127.5


def describe_features(content: bytes) -> ImageFeatures:
    """Return the features of the first frame. Blocks. Raises ImageError if damaged."""
    structure = read_structure(content)
    with opened(structure) as image:
        mode = image.mode
        picture = without_alpha(as_shown(image, structure))
    return features_of_picture(picture, mode=mode, n_frames=structure.n_frames)


def features_of_picture(picture: Image.Image, *, mode: str, n_frames: int) -> ImageFeatures:
    """Return the features of *picture*, the first frame of `without_alpha`. Blocks.

    A transparent margin is left out.
    """
    is_opaque = picture.mode == "RGB"
    flag = picture if is_opaque else _without_margin(picture)
    return ImageFeatures(
        mode=mode,
        n_frames=n_frames,
        colours=_dominant_colours(flag),
        phash=_perceptual_hash(flag if is_opaque else _on_white(flag)),
        aspect_ratio=name_ratio(*flag.size),
        aspect_decimal=decimal_ratio(*flag.size),
    )


def distance_bits(one: ImageFeatures, other: ImageFeatures) -> int:
    """Return how many of 64 hash bits differ; for unrelated images, about 32."""
    return (int(one.phash, 16) ^ int(other.phash, 16)).bit_count()


def _without_margin(picture: Image.Image) -> Image.Image:
    visible = picture.getchannel("A").point([0] * _OPAQUE + [255] * (256 - _OPAQUE))
    return picture.crop(visible.getbbox() or (0, 0, *picture.size))


def _on_white(picture: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)


def _dominant_colours(flag: Image.Image) -> tuple[ColourShare, ...]:
    sample = flag.resize(_SAMPLE_PX, Image.Resampling.NEAREST).convert("RGBA")
    exact = counted = _visible_colours(sample.getcolors(_MANY_COLOURS))
    if not counted:
        counted = _visible_colours(_rounded(sample).getcolors(_MAX_COLOURS))
        # Fewer pixels cost less, and find frequent colours too.
        exact = _visible_colours(sample.resize(_FEW_PX, Image.Resampling.NEAREST).getcolors(_MAX_COLOURS))
    total = sum(count for count, _ in counted)
    shares = (ColourShare(hex_of(rgb), round(count / total, 3)) for count, rgb in _main_colours(exact, counted))
    return tuple(colour for colour in shares if colour.share >= MIN_SHARE)[:MAX_COLOURS]


def _visible_colours(pixels: list[tuple[int, Any]] | None) -> list[tuple[int, Rgb]]:
    """Return pixel counts and opaque colours, the most frequent first."""
    visible = [(count, (red, green, blue)) for count, (red, green, blue, alpha) in pixels or [] if alpha >= _OPAQUE]
    return sorted(visible, reverse=True)


def _rounded(sample: Image.Image) -> Image.Image:
    channel = [min(255, round(value / _ROUNDED_TO) * _ROUNDED_TO) for value in range(256)]
    return sample.point([*channel * 3, *range(256)])


def _main_colours(exact: list[tuple[int, Rgb]], counted: list[tuple[int, Rgb]]) -> list[tuple[int, Rgb]]:
    """Return each family's pixels and most frequent exact colour, largest first."""
    sizes: Counter[ColourFamily] = Counter()
    for count, rgb in counted:
        sizes[colour_family(rgb)] += count
    colours: dict[ColourFamily, Rgb] = {}
    for _, rgb in exact:
        colours.setdefault(colour_family(rgb), rgb)
        if len(colours) == len(sizes):
            break
    main: Counter[Rgb] = Counter()
    for family, count in sizes.most_common():
        if family in colours:
            is_small = count < _MAX_BLENDED_SHARE * sizes.total()
            edge_of = blended_from(colours[family], main) if is_small else None
            main[edge_of or colours[family]] += count
    return sorted(((count, rgb) for rgb, count in main.items()), reverse=True)


def _perceptual_hash(flag: Image.Image) -> str:
    """Return the pHash: 64 frequencies of the discrete cosine transform, set above the median.

    The first bit means a light image, because the constant frequency is positive.
    """
    small = flag.convert("L").resize((_HASH_INPUT_PX, _HASH_INPUT_PX), Image.Resampling.BOX).tobytes()
    rows = [small[start : start + _HASH_INPUT_PX] for start in range(0, len(small), _HASH_INPUT_PX)]
    halfway = [[sum(map(mul, wave, row)) for row in rows] for wave in _waves()]
    # Removes noise around zero.
    frequencies = [round(sum(map(mul, wave, column))) for wave in _waves() for column in halfway]
    middle = median(frequencies[1:])
    bits = [sum(small) > _MID_GREY * len(small), *(frequency > middle for frequency in frequencies[1:])]
    return f"{sum(bit << place for place, bit in enumerate(reversed(bits))):016x}"


@cache
def _waves() -> list[list[float]]:
    step = math.pi / _HASH_INPUT_PX
    return [[math.cos(step * (at + 0.5) * number) for at in range(_HASH_INPUT_PX)] for number in range(_HASH_SIDE)]
