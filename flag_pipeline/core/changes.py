"""Records of new, replaced and unchanged flags."""

from dataclasses import replace
from datetime import datetime

from flag_pipeline.core.layout import history_path
from flag_pipeline.core.models import FlagChange, StoredImage
from flag_pipeline.errors import ImageError
from flag_pipeline.fetching.models import Validators
from flag_pipeline.images.features import describe_features, distance_bits
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.inspection import is_described
from flag_pipeline.images.models import FlagImage, ImageFeatures
from flag_pipeline.images.structure import Limits


def first_flag(image: FlagImage, *, file: str, url: str, validators: Validators, now: datetime) -> StoredImage:
    """Return the record of a first flag."""
    return StoredImage(
        file=file,
        format=image.format,
        width_px=image.width_px,
        height_px=image.height_px,
        size_bytes=len(image.content),
        sha256=image.sha256,
        source_url=url,
        fetched_at=now,
        changed_at=now,
        validators=validators,
        first_seen_at=now,
        derived=image.derived,
    )


def replaced_flag(flag: StoredImage, before: StoredImage) -> StoredImage:
    """Return the record of *flag* after *before*."""
    return replace(flag, first_seen_at=before.first_seen_at or before.changed_at, n_changes=before.n_changes + 1)


def unchanged_flag(flag: StoredImage, before: StoredImage, *, was_lost: bool) -> StoredImage:
    """Return the record of *flag*, which equals *before*; *was_lost* if its file was fetched again."""
    return replace(
        flag,
        fetched_at=flag.fetched_at if was_lost or before.source_url != flag.source_url else before.fetched_at,
        changed_at=before.changed_at,
        first_seen_at=before.first_seen_at or before.changed_at,
        n_changes=before.n_changes,
    )


def describe_change(code: str, before: StoredImage, after: StoredImage, *, distance_bits: int | None) -> FlagChange:
    """Return the change; *distance_bits* is None if the old image is not kept."""
    return FlagChange(
        code=code,
        changed_at=after.changed_at,
        old_sha256=before.sha256,
        new_sha256=after.sha256,
        old_size_bytes=before.size_bytes,
        new_size_bytes=after.size_bytes,
        distance_bits=distance_bits,
        old_source_url=before.source_url,
        source_url=after.source_url,
        old_file="" if distance_bits is None else history_path(code, before.sha256, before.format),
    )


def image_distance(
    contents: tuple[bytes, bytes], images: tuple[StoredImage, StoredImage], limits: Limits
) -> int | None:
    """Return how many hash bits differ; None if the old image is damaged or exceeds *limits*. Blocks."""
    try:
        read_structure(contents[0]).check(limits)
        return distance_bits(*map(_features, contents, images))
    except ImageError:
        return None


def _features(content: bytes, stored: StoredImage) -> ImageFeatures:
    return stored.derived.features if stored.derived and is_described(stored) else describe_features(content)


def latest_changes(changes: tuple[FlagChange, ...], *, keep: int) -> tuple[FlagChange, ...]:
    """Return the newest *keep* of *changes*, oldest first."""
    return changes[-keep:] if keep else ()
