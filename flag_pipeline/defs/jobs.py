"""The jobs: fetch, and rebuild the catalog."""

import dagster as dg

from flag_pipeline.defs.keys import COUNTRY_METADATA, FLAG_CATALOG, FLAG_CHANGES, FLAG_GALLERY, FLAG_IMAGE

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
