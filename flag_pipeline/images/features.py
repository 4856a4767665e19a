"""What a flag looks like, in numbers: dominant colours and a perceptual hash.

Each catalog takes them from the one before where the bytes are the same: what changes them needs a new version of
`CATALOG_SCHEMA`.
"""

import math
from collections.abc import Iterable
from functools import cache
from operator import mul
from statistics import median

from PIL import Image

from flag_pipeline.images.blocks import read_structure
from flag_pipeline.images.colours import ColourFamily, Rgb, colour_family, hex_of
from flag_pipeline.images.decoding import as_shown, opened
from flag_pipeline.images.models import ColourShare, ImageFeatures

MAX_COLOURS = 5
# A smaller share is the edge between two fields, softened by whoever scaled the picture.
MIN_SHARE = 0.02

_PALETTE, _SAMPLE_PX, _OPAQUE = 32, (96, 96), 128
_HASH_INPUT_PX, _HASH_SIDE = 16, 8
_MID_GREY = 127.5


def describe_features(content: bytes) -> ImageFeatures:
    """Return what the first frame of the image *content* looks like. Blocks; run it in a thread.

    *content* is within the limits. The same bytes give the same look. Raises ImageError for a damaged one.
    """
    structure = read_structure(content)
    with opened(structure) as image:
        mode = image.mode
        picture = as_shown(image, structure)
    return ImageFeatures(
        mode=mode, n_frames=structure.n_frames, colours=_dominant_colours(picture), phash=_perceptual_hash(picture)
    )


def distance_bits(first: bytes, second: bytes) -> int:
    """Return in how many of 64 bits the perceptual hashes of two images differ; blocks like `describe_features`.

    0 for alike, about 32 for unrelated pictures.
    """
    one, other = (int(describe_features(content).phash, 16) for content in (first, second))
    return (one ^ other).bit_count()


def _dominant_colours(picture: Image.Image) -> tuple[ColourShare, ...]:
    sample = picture.copy()
    # Averaging pixels would invent colours that no flag has.
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
    """Return one colour for each family, its most frequent, with the count of them all; most frequent first.

    Shades of one family are nearly always one field, softened, dithered or shaded by whoever drew the picture.
    """
    members: dict[ColourFamily, list[tuple[int, Rgb]]] = {}
    for count, rgb in colours:
        if count:
            members.setdefault(colour_family(rgb), []).append((count, rgb))
    return sorted(((sum(count for count, _ in found), max(found)[1]) for found in members.values()), reverse=True)


def _perceptual_hash(picture: Image.Image) -> str:
    """Return a bit for each of the 64 lowest frequencies of the picture's brightness, set where it is above the median.

    This is the "pHash" idea, a discrete cosine transform of a small grey picture. The constant part has no sign to
    speak of, so its bit says whether the picture is light or dark.
    """
    paper = Image.new("RGBA", picture.size, "white")
    grey = Image.alpha_composite(paper, picture).convert("L")
    small = grey.resize((_HASH_INPUT_PX, _HASH_INPUT_PX), Image.Resampling.BOX).tobytes()
    rows = [small[start : start + _HASH_INPUT_PX] for start in range(0, len(small), _HASH_INPUT_PX)]
    halfway = [[sum(map(mul, wave, row)) for row in rows] for wave in _waves()]
    # Rounded, for a striped flag has frequencies that are 0 but for floating-point noise.
    frequencies = [round(sum(map(mul, wave, column))) for wave in _waves() for column in halfway]
    middle = median(frequencies[1:])
    bits = [sum(small) > _MID_GREY * len(small), *(frequency > middle for frequency in frequencies[1:])]
    return f"{sum(bit << place for place, bit in enumerate(reversed(bits))):016x}"


@cache
def _waves() -> list[list[float]]:
    step = math.pi / _HASH_INPUT_PX
    return [[math.cos(step * (at + 0.5) * number) for at in range(_HASH_INPUT_PX)] for number in range(_HASH_SIDE)]
