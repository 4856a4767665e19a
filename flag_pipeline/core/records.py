"""JSON of records and metadata; equal content gives equal bytes."""

import dataclasses
import hashlib
from collections.abc import Iterable

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from flag_pipeline.core.layout import flag_prefix, history_folder
from flag_pipeline.core.models import Country, FlagRecord
from flag_pipeline.images.formats import FORMATS

SCHEMA = 1
_FIRST_LINES = b'{\n  "schema": %d,\n' % SCHEMA
# Most records end like this.
END_WITHOUT_CHANGES = b'"changes": []\n}\n'

# On import, because threads would make it several times.
_RECORD = TypeAdapter(FlagRecord)


def dump_json(document: object) -> bytes:
    """Return UTF-8 JSON with sorted keys, two spaces and a final line feed."""
    return to_json(_in_order(document), indent=2) + b"\n"


def dump_json_array(documents: Iterable[object]) -> bytes:
    """Return `dump_json` of a list, one document in memory at a time."""
    # JSON strings contain no line feed, so each is layout.
    items = b",".join(b"\n  " + dump_json(item).rstrip().replace(b"\n", b"\n  ") for item in documents)
    return b"[%b\n]\n" % items if items else b"[]\n"


def _in_order(document: object) -> object:
    # Python's encoder needs ten times the time and memory to sort.
    if isinstance(document, dict):
        return {key: _in_order(document[key]) for key in sorted(document)}
    return [_in_order(item) for item in document] if isinstance(document, list) else document


def dump_country(country: Country) -> bytes:
    """Return the content of the metadata file."""
    return dump_json(dataclasses.asdict(country))


def country_sha256(country: Country) -> str:
    """Return the data version of the metadata."""
    return hashlib.sha256(dump_country(country)).hexdigest()


def dump_record(record: FlagRecord) -> bytes:
    """Return the content of the record's file."""
    return to_json({"schema": SCHEMA, **_RECORD.dump_python(record, by_alias=True)}, indent=2) + b"\n"


def load_record(content: bytes) -> FlagRecord:
    """Return the record in *content*.

    Raises ValueError for another schema, or parts of several countries.
    """
    # Records of `dump_record` need not be parsed twice.
    if not content.startswith(_FIRST_LINES):
        document = from_json(content)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError("not a flag record of schema 1")
    record = _RECORD.validate_json(content)
    if not _is_consistent(record):
        raise ValueError(f"the record of {record.code} has parts of another country or image format")
    return record


def _is_consistent(record: FlagRecord) -> bool:
    code, image, country = record.code, record.image, record.country
    if image and not (
        image.file.startswith(flag_prefix(code)) and image.file.endswith(f".{FORMATS[image.format].extension}")
    ):
        return False
    return (country is None or country.code == code) and all(
        change.code == code
        and (not change.old_file or change.old_file.startswith(f"{history_folder(code)}/{change.old_sha256}."))
        for change in record.changes
    )
