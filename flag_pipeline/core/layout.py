"""Every path of the store, relative to its root."""

import re

from flag_pipeline.images.formats import FORMATS, THUMBNAIL_VERSION

FLAGS, METADATA, RECORDS, CATALOG, HISTORY = "flags", "metadata", "records", "catalog", "history"
THUMBNAILS = f"{CATALOG}/thumbnails/v{THUMBNAIL_VERSION}"
# What the page shows in place of SVG files.
PICTURES = f"{CATALOG}/pictures/v{THUMBNAIL_VERSION}"
# Drawn by earlier versions.
OLD_PICTURES = tuple(
    f"{CATALOG}/{folder}/v{version}" for folder in ("thumbnails", "pictures") for version in range(1, THUMBNAIL_VERSION)
)
RENDITIONS, RELEASES = "renditions", "release"
RENDITION_RECORDS = f"{RENDITIONS}/records"
# In every store; other folders are made when used.
FOLDERS = (FLAGS, METADATA, RECORDS, CATALOG, HISTORY, THUMBNAILS)

# The sources that filled the store.
SOURCES_PATH = f"{RECORDS}/.sources"
# What the derived files were built from.
BUILT_PATH = f"{CATALOG}/.built"
# Only a local folder has this file.
LOCK_PATH = f"{RECORDS}/.lock"
GALLERY_PATH = f"{CATALOG}/index.html"
PAGE_DETAILS = f"{CATALOG}/details"
CONTACT_SHEET_PATH, MOSAIC_PATH = f"{CATALOG}/contact_sheet.png", f"{CATALOG}/mosaic.webp"

# File systems allow 255; code, extension and temporary suffix take the rest.
MAX_NAME_BYTES = 200

# A character class of what file systems forbid in names.
FORBIDDEN_PATTERN = r'<>:"/\\|?*\x00-\x1f\x7f'


def flag_path(code: str, name: str, image_format: str) -> str:
    """Return `flags/AE-United_Arab_Emirates.gif`, valid on all common file systems.

    Spaces become underscores, as in "Fluent Python". Version 0.1.0 kept them; saving deletes the former file.
    """
    safe_name = re.sub(f"[ {FORBIDDEN_PATTERN}]", "_", name.rstrip(". "))
    cut_name = safe_name.encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(".")
    return f"{flag_prefix(code)}{cut_name}.{FORMATS[image_format].extension}"


def flag_prefix(code: str) -> str:
    """Return the start of flag paths, `flags/CN-`."""
    return f"{FLAGS}/{code}-"


def metadata_path(code: str) -> str:
    """Return `metadata/CN.json`."""
    return f"{METADATA}/{code}.json"


def record_path(code: str) -> str:
    """Return `records/CN.json`."""
    return f"{RECORDS}/{code}.json"


def code_of(file_name: str) -> str:
    """Return `CN` of `CN-China.gif`."""
    return re.split("[-.]", file_name, maxsplit=1)[0]


def history_folder(code: str) -> str:
    """Return `history/CN`."""
    return f"{HISTORY}/{code}"


def history_path(code: str, sha256: str, image_format: str) -> str:
    """Return `history/CN/<sha256>.gif`; equal images share a file."""
    return f"{history_folder(code)}/{sha256}.{FORMATS[image_format].extension}"


def thumbnail_path(sha256: str) -> str:
    """Return `catalog/thumbnails/v2/<sha256>.webp`."""
    return webp_path(THUMBNAILS, sha256)


def webp_path(folder: str, sha256: str) -> str:
    """Return `catalog/pictures/v2/<sha256>.webp`, for example."""
    return f"{folder}/{sha256}.webp"


def table_path(folder: str, table: str, extension: str = "json") -> str:
    """Return, for example, `catalog/catalog.json`."""
    return f"{folder}/{table}.{extension}"


def schema_path(folder: str) -> str:
    """Return, for example, `catalog/schema.json`."""
    return f"{folder}/schema.json"


def rendition_path(rendition: str, code: str, image_format: str) -> str:
    """Return, for example, `renditions/w160/CN.png`."""
    return f"{RENDITIONS}/{rendition}/{code}.{image_format}"


def rendition_record_path(code: str) -> str:
    """Return `renditions/records/CN.json`."""
    return f"{RENDITION_RECORDS}/{code}.json"


def release_path(name: str) -> str:
    """Return, for example, `release/flags-2026-11-26.zip`."""
    return f"{RELEASES}/{name}"


CATALOG_PATH = table_path(CATALOG, "catalog")
CHANGES_PATH = table_path(HISTORY, "changes")
