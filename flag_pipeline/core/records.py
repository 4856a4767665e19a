"""How a country's record and metadata are written down: stable JSON, the same bytes for the same content."""

import dataclasses
import hashlib
from collections.abc import Iterable

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from flag_pipeline.core.models import Country, FlagRecord
from flag_pipeline.images.formats import FORMATS

SCHEMA = 1
_FIRST_LINES = b'{\n  "schema": %d,\n' % SCHEMA

# Made here and not at first use, which several threads come to at once.
_RECORD = TypeAdapter(FlagRecord)


def dump_json(document: object) -> bytes:
    """Return *document* as UTF-8 JSON with sorted keys, two spaces and a final line feed."""
    return to_json(_in_order(document), indent=2) + b"\n"


def dump_json_array(documents: Iterable[object]) -> bytes:
    """Return what `dump_json` returns for a list of *documents*, which need not be in memory together."""
    # No text has a line feed of its own in JSON.
    items = b",".join(b"\n  " + dump_json(item).rstrip().replace(b"\n", b"\n  ") for item in documents)
    return b"[%b\n]\n" % items if items else b"[]\n"


def _in_order(document: object) -> object:
    # Python's own encoder sorts by itself, but takes ten times as long, and as much memory, to indent.
    if isinstance(document, dict):
        return {key: _in_order(document[key]) for key in sorted(document)}
    return [_in_order(item) for item in document] if isinstance(document, list) else document


def dump_country(country: Country) -> bytes:
    """Return the metadata document that is stored for *country*."""
    return dump_json(dataclasses.asdict(country))


def country_sha256(country: Country) -> str:
    """The content hash of a country's metadata, its data version."""
    return hashlib.sha256(dump_country(country)).hexdigest()


def dump_record(record: FlagRecord) -> bytes:
    """Return *record* as it is stored; `load_record` reads it back."""
    return to_json({"schema": SCHEMA, **_RECORD.dump_python(record)}, indent=2) + b"\n"


def load_record(content: bytes) -> FlagRecord:
    """Return the record that `dump_record` wrote, every field of it within the bounds of its type.

    Raises ValueError when *content* is no record of this schema, or when its parts are of several countries.
    """
    # Only a record with another layout has to be parsed twice.
    if not content.startswith(_FIRST_LINES):
        document = from_json(content)
        if not isinstance(document, dict) or document.get("schema") != SCHEMA:
            raise ValueError("not a flag record of schema 1")
    record = _RECORD.validate_json(content)
    if not _is_consistent(record):
        raise ValueError(f"the record of {record.code} has parts of another country or format")
    return record


def _is_consistent(record: FlagRecord) -> bool:
    """Whether every part is of the record's country, and every file has the extension of its image."""
    code, image = record.code, record.image
    if image is not None and not (
        image.file.startswith(f"flags/{code}-") and image.file.endswith(f".{FORMATS[image.format].extension}")
    ):
        return False
    return (record.country is None or record.country.code == code) and all(
        change.code == code
        and (not change.old_file or change.old_file.startswith(f"history/{code}/{change.old_sha256}."))
        for change in record.changes
    )
