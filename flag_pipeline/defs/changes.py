"""The history asset: which flags were replaced, when, and what they looked like before."""

import asyncio
from contextlib import suppress

import dagster as dg

from flag_pipeline.catalog.history import CHANGES_SCHEMA, change_rows, changes_since, picture_paths
from flag_pipeline.catalog.tables import render_table
from flag_pipeline.core.layout import CHANGES_PATH, HISTORY
from flag_pipeline.core.models import FlagChange, FlagRecord
from flag_pipeline.core.sink import FileSink, intact
from flag_pipeline.defs.catalog import ANY_COUNTRY_CHANGED
from flag_pipeline.defs.keys import CODE_VERSION, FLAG_CHANGES, FLAG_IMAGE, OWNERS
from flag_pipeline.defs.publishing import column_schema, escape_markdown, publish, table_preview
from flag_pipeline.defs.resources import FileSinkResource, image_limits
from flag_pipeline.errors import ImageError
from flag_pipeline.images.formats import read_structure
from flag_pipeline.images.thumbnails import before_and_after, data_uri

NO_FLAG_CHANGED = "no_flag_changed"
SHOWN_CHANGES = 5  # pictures in the event log
NAMED_CHANGES = 20


@dg.asset(
    key=FLAG_CHANGES,
    deps=[FLAG_IMAGE],
    automation_condition=ANY_COUNTRY_CHANGED,
    code_version=CODE_VERSION,
    group_name="flags",
    owners=OWNERS,
    kinds={"csv", "json", "parquet"},
    check_specs=[
        dg.AssetCheckSpec(
            NO_FLAG_CHANGED, asset=FLAG_CHANGES, description="Warns of flags that changed since the last refresh."
        )
    ],
    description="One row for each time that a flag was replaced, newest first: `history/changes.parquet` and others.",
)
async def flag_changes(file_sink: FileSinkResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster compares it
    """Derive the table of changes from the records, and compare it with the one before."""
    records = await file_sink.sink.records(only_changed=True)
    changes = change_rows(records)
    fresh = changes_since(changes, await file_sink.sink.read_hint(CHANGES_PATH))
    version = await publish(file_sink.sink, render_table(CHANGES_SCHEMA, HISTORY, changes))
    return dg.MaterializeResult(
        data_version=version,
        metadata={
            "dagster/row_count": len(changes),
            "dagster/column_schema": column_schema(CHANGES_SCHEMA),
            "n_new": len(fresh),
            "changes": table_preview(changes[:NAMED_CHANGES], ("code", "changed_at", "distance_bits", "source_url")),
            "before_after": dg.MetadataValue.md(await describe_pictures(file_sink.sink, records, changes)),
        },
        check_results=[check_changes(fresh)],
    )


def check_changes(fresh: list[FlagChange]) -> dg.AssetCheckResult:
    """Return the check's result, which names the *fresh* changes."""
    codes = sorted({change.code for change in fresh})
    named = ", ".join(codes[:NAMED_CHANGES]) + (" and others" if len(codes) > NAMED_CHANGES else "")
    flags = "flag" if len(codes) == 1 else "flags"
    return dg.AssetCheckResult(
        check_name=NO_FLAG_CHANGED,
        passed=not codes,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(codes)} {flags} changed: {named}" if codes else "no flag changed",
        metadata={"codes": dg.MetadataValue.json(codes), "n_changed": len(codes)},
    )


async def describe_pictures(sink: FileSink, records: dict[str, FlagRecord], changes: list[FlagChange]) -> str:
    """Return a Markdown table of the latest changes, with both flags."""
    if not changes:
        return "No flag has changed yet."
    paths = picture_paths(records)
    lines = ["| country | changed | before and after |", "|---|---|---|"]
    for change in changes[:SHOWN_CHANGES]:
        old, new = [
            await _picture(sink, paths.get((change.code, sha256)), sha256)
            for sha256 in (change.old_sha256, change.new_sha256)
        ]
        country = records[change.code].country
        name = f"{change.code} {escape_markdown(country.name)}" if country else change.code
        picture = data_uri(await asyncio.to_thread(before_and_after, old, new), "png")
        lines.append(
            f"| {name} | {change.changed_at:%Y-%m-%d %H:%M} UTC | ![{change.code} before and after]({picture}) |"
        )
    return "\n".join(lines)


async def _picture(sink: FileSink, path: str | None, sha256: str) -> bytes | None:
    """Return the flag at *path*; None if lost, damaged or beyond the image limits."""
    content = intact(await sink.read_hint(path), sha256) if path else None
    with suppress(ImageError):
        if content is not None:
            read_structure(content).check(await image_limits())
            return content
    return None
