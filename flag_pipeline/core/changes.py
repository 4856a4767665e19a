"""What is recorded and kept of a flag that another one replaces."""

from flag_pipeline.core.layout import HISTORY
from flag_pipeline.core.models import FlagChange, StoredImage
from flag_pipeline.images.formats import FORMATS


def history_folder(code: str) -> str:
    """Return where a country's replaced flags are kept, `history/CN`."""
    return f"{HISTORY}/{code}"


def history_path(code: str, image: StoredImage) -> str:
    """Return where *image* is kept once it is replaced, `history/CN/<sha256>.gif`: the same bytes, the same file."""
    return f"{history_folder(code)}/{image.sha256}.{FORMATS[image.format].extension}"


def describe_change(code: str, before: StoredImage, after: StoredImage, *, distance_bits: int | None) -> FlagChange:
    """Return the change from *before* to *after*; *distance_bits* is None when the old bytes had been lost."""
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
        old_file="" if distance_bits is None else history_path(code, before),
    )


def latest_changes(changes: tuple[FlagChange, ...], *, keep: int) -> tuple[FlagChange, ...]:
    """Return the newest *keep* of *changes*, which are oldest first; of a kept change its picture is kept too."""
    return changes[-keep:] if keep else ()
