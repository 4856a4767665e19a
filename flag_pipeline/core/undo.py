"""Restores a country's files after a run stored a mismatched response."""

from flag_pipeline.core.layout import history_folder, history_path
from flag_pipeline.core.models import FlagRecord, StoredImage
from flag_pipeline.core.sink import FileSink, intact


async def restore(sink: FileSink, before: FlagRecord) -> None:
    """Restore the files to *before*, the record at the run's start; raises SinkError."""
    has_flag = before.image is not None and await _restore_flag(sink, before.code, before.image)
    if not has_flag:
        await sink.delete_country(before.code)
    if before != FlagRecord(before.code):
        await sink.save(before, country=before.country, lost=not has_flag)
    await sink.keep_only(history_folder(before.code), {change.old_file for change in before.changes})


async def _restore_flag(sink: FileSink, code: str, stored: StoredImage) -> bool:
    for path in (stored.file, history_path(code, stored.sha256, stored.format)):
        content = intact(await sink.read(path), stored.sha256)
        if content is not None:
            await sink.write(stored.file, content)
            return True
    return False
