"""How a country's record and metadata are written down: stable JSON, the same bytes for the same content."""

import dataclasses
import hashlib
import json
from functools import cache

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from flag_pipeline.models import Country, FlagRecord

SCHEMA = 1


def dump_json(document: object) -> bytes:
    """Return *document* as UTF-8 JSON with sorted keys, two spaces and a final line feed."""
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    return f"{text}\n".encode()


def dump_country(country: Country) -> bytes:
    """Return the metadata document that is stored for *country*."""
    return dump_json(dataclasses.asdict(country))


def country_sha256(country: Country) -> str:
    """The content hash of a country's metadata, its data version."""
    return hashlib.sha256(dump_country(country)).hexdigest()


def dump_record(record: FlagRecord) -> bytes:
    """Return *record* as it is stored; `load_record` reads it back."""
    return to_json({"schema": SCHEMA, **_record_type().dump_python(record)}, indent=2) + b"\n"


@cache
def _record_type() -> TypeAdapter[FlagRecord]:
    return TypeAdapter(FlagRecord)


def load_record(content: bytes) -> FlagRecord:
    """Return the record that `dump_record` wrote, every field of it checked.

    Raises ValueError when *content* is no record of this schema.
    """
    document = from_json(content)
    if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
        raise ValueError("not a flag record of schema 1")
    return _record_type().validate_python(document)
