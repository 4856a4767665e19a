"""Every path of the store, relative to its root: flags, metadata, records, history and catalog.

To store a file elsewhere, change it here. One path is not here: a local folder's lock file, in stores/local_folder.py.
"""

import re

from flag_pipeline.images.formats import FORMATS

FLAGS, METADATA, RECORDS, CATALOG, HISTORY = "flags", "metadata", "records", "catalog", "history"
FOLDERS = (FLAGS, METADATA, RECORDS, CATALOG, HISTORY)

# The names of the sources that filled the store.
SOURCES_PATH = f"{RECORDS}/.sources"
GALLERY_PATH = f"{CATALOG}/index.html"
CONTACT_SHEET_PATH = f"{CATALOG}/contact_sheet.png"

# File systems allow names of 255 bytes; the rest is room for code, dash, extension and a temporary file's suffix.
MAX_NAME_BYTES = 200

# Inside a character class: what some file system forbids in names.
FORBIDDEN_PATTERN = r'<>:"/\\|?*\x00-\x1f\x7f'


def flag_path(code: str, name: str, image_format: str) -> str:
    """Return a flag's path, `flags/CN-China.gif`, a valid file name on all common file systems.

    Characters that a file system forbids become `_`; a name is cut to 200 bytes of UTF-8.
    """
    safe_name = re.sub(f"[{FORBIDDEN_PATTERN}]", "_", name)
    cut_name = safe_name.encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(". ")
    return f"{flag_prefix(code)}{cut_name}.{FORMATS[image_format].extension}"


def flag_prefix(code: str) -> str:
    """Return what every path of a country's flag starts with, `flags/CN-`."""
    return f"{FLAGS}/{code}-"


def metadata_path(code: str) -> str:
    """Return the path of a country's metadata, `metadata/CN.json`."""
    return f"{METADATA}/{code}.json"


def record_path(code: str) -> str:
    """Return the path of a country's record, `records/CN.json`."""
    return f"{RECORDS}/{code}.json"


def code_of(file_name: str) -> str:
    """Return the country code in the name of a flag, metadata or record file: `CN` of `CN-China.gif`."""
    return re.split("[-.]", file_name, maxsplit=1)[0]


def history_folder(code: str) -> str:
    """Return the folder of a country's replaced flags, `history/CN`."""
    return f"{HISTORY}/{code}"


def history_path(code: str, sha256: str, image_format: str) -> str:
    """Return the path of a replaced flag, `history/CN/<sha256>.gif`; equal images share a file."""
    return f"{history_folder(code)}/{sha256}.{FORMATS[image_format].extension}"


def table_path(folder: str, table: str, extension: str = "json") -> str:
    """Return the path of one file of a table, `catalog/catalog.json`."""
    return f"{folder}/{table}.{extension}"


def schema_path(folder: str) -> str:
    """Return the path of the description of a folder's table, `catalog/schema.json`."""
    return f"{folder}/schema.json"


CATALOG_PATH = table_path(CATALOG, "catalog")
CHANGES_PATH = table_path(HISTORY, "changes")
