"""Asset keys, code version and owners."""

import dagster as dg

COUNTRY_METADATA = dg.AssetKey("country_metadata")
FLAG_IMAGE = dg.AssetKey("flag_image")
FLAG_CATALOG = dg.AssetKey("flag_catalog")
FLAG_CHANGES = dg.AssetKey("flag_changes")
FLAG_GALLERY = dg.AssetKey("flag_gallery")
FLAG_RENDITION = dg.AssetKey("flag_rendition")
RENDITION_CATALOG = dg.AssetKey("rendition_catalog")
FLAG_RELEASE = dg.AssetKey("flag_release")

FETCHED_ASSETS = (COUNTRY_METADATA, FLAG_IMAGE)

CODE_VERSION = "1"
OWNERS = ["team:data"]
