"""Dominant colours and perceptual hash of an image.

Records and catalogs keep the features of unchanged images, so a change of results needs a new `FEATURES_VERSION` and
a new `CATALOG_SCHEMA`.
"""

import math
from collections.abc import Iterable
from functools import cache
from operator import mul
from statistics import median

from PIL import Image

from flag_pipeline.images.colours import ColourFamily, Rgb, colour_family, hex_of
from flag_pipeline.images.decoding import as_shown, opened
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.models import ColourShare, ImageFeatures

FEATURES_VERSION = 1

MAX_COLOURS = 5
# Smaller shares are blurred edges.
MIN_SHARE = 0.02

_PALETTE, _SAMPLE_PX, _OPAQUE = 32, (96, 96), 128
_HASH_INPUT_PX, _HASH_SIDE = 16, 8
_MID_GREY = 127.5


def describe_features(content: bytes) -> ImageFeatures:
    """Return the features of the first frame. Blocks. Raises ImageError if damaged."""
    structure = read_structure(content)
    with opened(structure) as image:
        mode = image.mode
        picture = as_shown(image, structure)
    return features_of_picture(picture, mode=mode, n_frames=structure.n_frames)


def features_of_picture(picture: Image.Image, *, mode: str, n_frames: int) -> ImageFeatures:
    """Return the features of *picture*, the first frame in RGBA. Blocks."""
    return ImageFeatures(
        mode=mode, n_frames=n_frames, colours=_dominant_colours(picture), phash=_perceptual_hash(picture)
    )


def distance_bits(one: ImageFeatures, other: ImageFeatures) -> int:
    """Return how many of 64 hash bits differ: about 32 for unrelated images."""
    return (int(one.phash, 16) ^ int(other.phash, 16)).bit_count()


def _dominant_colours(picture: Image.Image) -> tuple[ColourShare, ...]:
    sample = picture.copy()
    # Averaging would create new colours.
    sample.thumbnail(_SAMPLE_PX, Image.Resampling.NEAREST)
    visible = sample.getchannel("A").point([0] * _OPAQUE + [255] * (256 - _OPAQUE))
    quantized = sample.convert("RGB").quantize(_PALETTE)
    palette = quantized.getpalette() or []
    counts = quantized.histogram(mask=visible)[: len(palette) // 3]
    families = _by_family(
        (count, (palette[3 * at], palette[3 * at + 1], palette[3 * at + 2])) for at, count in enumerate(counts)
    )
    total = sum(count for count, _ in families)
    shares = (ColourShare(hex_of(rgb), round(count / total, 3)) for count, rgb in families[:MAX_COLOURS])
    return tuple(colour for colour in shares if colour.share >= MIN_SHARE)


def _by_family(colours: Iterable[tuple[int, Rgb]]) -> list[tuple[int, Rgb]]:
    # Pixel count and most frequent colour, largest first.
    members: dict[ColourFamily, list[tuple[int, Rgb]]] = {}
    for count, rgb in colours:
        if count:
            members.setdefault(colour_family(rgb), []).append((count, rgb))
    return sorted(((sum(count for count, _ in found), max(found)[1]) for found in members.values()), reverse=True)


def _perceptual_hash(picture: Image.Image) -> str:
    """Return the pHash: 64 frequencies of the discrete cosine transform, set above the median.

    The first bit means a light image, because the constant frequency is always positive.
    """
    background = Image.new("RGBA", picture.size, "white")
    grey = Image.alpha_composite(background, picture).convert("L")
    small = grey.resize((_HASH_INPUT_PX, _HASH_INPUT_PX), Image.Resampling.BOX).tobytes()
    rows = [small[start : start + _HASH_INPUT_PX] for start in range(0, len(small), _HASH_INPUT_PX)]
    halfway = [[sum(map(mul, wave, row)) for row in rows] for wave in _waves()]
    # Removes floating-point noise around zero.
    frequencies = [round(sum(map(mul, wave, column))) for wave in _waves() for column in halfway]
    middle = median(frequencies[1:])
    bits = [sum(small) > _MID_GREY * len(small), *(frequency > middle for frequency in frequencies[1:])]
    return f"{sum(bit << place for place, bit in enumerate(reversed(bits))):016x}"


@cache
def _waves() -> list[list[float]]:
    step = math.pi / _HASH_INPUT_PX
    return [[math.cos(step * (at + 0.5) * number) for at in range(_HASH_INPUT_PX)] for number in range(_HASH_SIDE)]
