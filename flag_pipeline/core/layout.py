"""Every path of the store: where flags, metadata, records, the history and the catalog lie below its root."""

import re

from flag_pipeline.images.formats import FORMATS

FLAGS, METADATA, RECORDS, CATALOG, HISTORY = "flags", "metadata", "records", "catalog", "history"


# File systems allow 255 bytes a name; code, dash, extension and the temporary's own letters fit in the rest.
MAX_NAME_BYTES = 200


_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')


def flag_path(code: str, name: str, kind: str) -> str:
    """Return where the flag goes, `flags/CN-China.gif`: a safe file name on every usual file system.

    Characters that some file system forbids become `_`; a long name is cut to 200 bytes of UTF-8.
    """
    safe = _FORBIDDEN.sub("_", name).encode()[:MAX_NAME_BYTES].decode(errors="ignore").rstrip(". ")
    return f"{FLAGS}/{code}-{safe}.{FORMATS[kind].extension}"


def metadata_path(code: str) -> str:
    """Return where the metadata goes, `metadata/CN.json`."""
    return f"{METADATA}/{code}.json"


def record_path(code: str) -> str:
    """Return where the record goes, `records/CN.json`."""
    return f"{RECORDS}/{code}.json"
