"""Checks an image, decodes every pixel, and derives features and thumbnails from the same decoding."""

import hashlib
from collections.abc import Iterable

from PIL import Image

from flag_pipeline.errors import ImageError
from flag_pipeline.images.decoding import as_shown, opened, without_alpha
from flag_pipeline.images.features import FEATURES_VERSION, features_of_picture
from flag_pipeline.images.formats import THUMBNAIL_VERSION, check_end, read_structure
from flag_pipeline.images.models import Derived, FlagImage, StoredDescription
from flag_pipeline.images.structure import Limits, Structure
from flag_pipeline.images.thumbnails import THUMBNAIL_BOX, encode_thumbnail, event_thumbnail, shrink

# The version of the code that makes `Derived`; results of another version are made again.
DERIVED_VERSION = f"{FEATURES_VERSION}.{THUMBNAIL_VERSION}"


def inspect_image(content: bytes, *, formats: Iterable[str], limits: Limits) -> FlagImage:
    """Decode *content* completely. Blocks.

    Raises ImageError if it is not in *formats*, is damaged or exceeds *limits*.
    """
    structure = read_structure(content)
    if structure.format not in formats:
        raise ImageError(f"not a whole image ({', '.join(sorted(formats))}): it is a {structure.format}")
    check_end(content, structure)
    structure.check(limits)
    return _derive(content, structure, sha256=hashlib.sha256(content).hexdigest())


def recall_image(content: bytes, known: StoredDescription, *, limits: Limits) -> FlagImage:
    """Return the stored image *content*, whose hash was checked, as its record describes it.

    Decodes (and blocks) only if another version described it; then raises ImageError if the image is damaged or exceeds
    *limits*.
    """
    if is_described(known) and known.derived is not None:
        return FlagImage(content, known.format, known.width_px, known.height_px, known.sha256, known.derived)
    structure = read_structure(content)
    structure.check(limits)
    return _derive(content, structure, sha256=known.sha256)


def is_described(known: StoredDescription) -> bool:
    """Whether `recall_image` need not decode the image."""
    return known.derived is not None and known.derived.version == DERIVED_VERSION


def _derive(content: bytes, structure: Structure, *, sha256: str) -> FlagImage:
    with opened(structure) as image:
        mode = image.mode
        _decode(image)
        image.seek(0)
        picture = without_alpha(as_shown(image, structure))
    features = features_of_picture(picture, mode=mode, n_frames=structure.n_frames)
    picture = shrink(picture, THUMBNAIL_BOX)
    page_thumbnail = encode_thumbnail(picture)
    derived = Derived(DERIVED_VERSION, features, event_thumbnail(picture))
    return FlagImage(content, structure.format, *structure.size_shown, sha256, derived, page_thumbnail)


def _decode(image: Image.Image) -> None:
    number = 0
    while True:
        try:
            image.seek(number)
        except EOFError:
            return
        image.load()
        number += 1
