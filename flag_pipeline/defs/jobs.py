"""The jobs: fetch, rebuild the catalog, make renditions and releases."""

import dagster as dg

from flag_pipeline.defs.keys import (
    COUNTRY_METADATA,
    FLAG_CATALOG,
    FLAG_CHANGES,
    FLAG_GALLERY,
    FLAG_IMAGE,
    FLAG_RELEASE,
    FLAG_RENDITION,
    RENDITION_CATALOG,
)

refresh_flags = dg.define_asset_job(
    "refresh_flags",
    selection=dg.AssetSelection.assets(COUNTRY_METADATA, FLAG_IMAGE),
    description="Fetch countries: partitions, or a list in the configuration of fetch_flags.",
)

rebuild_catalog = dg.define_asset_job(
    "rebuild_catalog",
    selection=dg.AssetSelection.assets(FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY),
    description="Derive the catalog, the history of changes and the pictures from what is stored.",
)

render_flags = dg.define_asset_job(
    "render_flags",
    selection=dg.AssetSelection.assets(FLAG_RENDITION),
    description="Make the renditions of countries: partitions, or a list in the configuration of flag_rendition.",
)

list_renditions = dg.define_asset_job(
    "list_renditions",
    selection=dg.AssetSelection.assets(RENDITION_CATALOG, FLAG_GALLERY),
    description="List the renditions, and offer them on the page.",
)

make_release = dg.define_asset_job(
    "make_release",
    selection=dg.AssetSelection.assets(FLAG_RELEASE),
    description="Pack the flags, their renditions and the catalog into one file, unless the latest release has them.",
)
