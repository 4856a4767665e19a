"""Restores a country's files after a run stored a mismatched response."""

from flag_pipeline.core.layout import history_folder, history_path
from flag_pipeline.core.models import FlagRecord, StoredImage
from flag_pipeline.core.sink import FileSink, intact
from flag_pipeline.images.models import FlagImage


async def restore(sink: FileSink, before: FlagRecord) -> None:
    """Restore the files to *before*, the record at the start of the run; raises SinkError."""
    flag = await _find_flag(sink, before.code, before.image) if before.image else None
    if flag is None:
        await sink.delete_country(before.code)
    if before != FlagRecord(before.code):
        await sink.save(before, image=flag, country=before.country, lost=flag is None)
    await sink.keep_only(history_folder(before.code), {change.old_file for change in before.changes})


async def _find_flag(sink: FileSink, code: str, stored: StoredImage) -> FlagImage | None:
    for path in (stored.file, history_path(code, stored.sha256, stored.format)):
        content = intact(await sink.read(path), stored.sha256)
        if content is not None:
            return FlagImage(
                content, stored.format, stored.width_px, stored.height_px, stored.sha256, thumbnail=stored.thumbnail
            )
    return None
