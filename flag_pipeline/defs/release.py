"""The release asset: the catalog with all its pictures in one file."""

from collections.abc import Collection
from datetime import UTC, datetime

import dagster as dg

from flag_pipeline.catalog.release import Contents, publish_release
from flag_pipeline.catalog.rows import load_rows
from flag_pipeline.core.layout import CATALOG_PATH
from flag_pipeline.core.renditions import rendition_records
from flag_pipeline.defs.catalog import ANY_COUNTRY_CHANGED
from flag_pipeline.defs.keys import CODE_VERSION, FLAG_CATALOG, FLAG_RELEASE, OWNERS, RENDITION_CATALOG
from flag_pipeline.defs.resources import FileSinkResource
from flag_pipeline.errors import ReleaseError
from flag_pipeline.images.rendition_names import Rendition, RenditionFormat


def release_asset(
    codes: Collection[str], wanted: tuple[Rendition, ...], image_format: RenditionFormat, *, keep: int
) -> dg.AssetsDefinition:
    """Return the asset `flag_release`, with the *wanted* renditions of *codes*; the latest *keep* releases are kept."""

    @dg.asset(
        key=FLAG_RELEASE,
        deps=[FLAG_CATALOG, RENDITION_CATALOG] if wanted else [FLAG_CATALOG],
        automation_condition=ANY_COUNTRY_CHANGED,
        code_version=CODE_VERSION,
        group_name="flags",
        owners=OWNERS,
        kinds={"zip", "css"},
        description="All flags in one file, with a manifest: `release/flags-2026-11-26.zip`, and `release/flags.css`.",
    )
    async def flag_release(file_sink: FileSinkResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster 1.13 does not recognise it with an argument
        sink = file_sink.sink
        made = (await rendition_records(sink)).items() if wanted else ()
        renditions = {code: record for code, record in made if record.has(wanted, image_format)} if wanted else None
        try:
            contents = Contents.of(load_rows(await sink.read(CATALOG_PATH) or b""), renditions, codes=codes)
            release, is_new = await publish_release(sink, contents, keep=keep, today=datetime.now(UTC).date())
        except ValueError:
            raise dg.Failure("there is no catalog: materialize flag_catalog first", allow_retries=False) from None
        except ReleaseError as exc:
            raise dg.Failure(str(exc), allow_retries=False) from None
        return dg.MaterializeResult(
            data_version=dg.DataVersion(release.content_sha256),
            metadata={
                "file": dg.MetadataValue.path(f"{file_sink.store}/{release.file}"),
                "is_new": is_new,
                "n_flags": release.n_flags,
                "n_files": release.n_files,
                "size_bytes": release.size_bytes,
                "sha256": release.sha256,
            },
        )

    return flag_release
