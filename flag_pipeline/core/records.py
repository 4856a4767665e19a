"""How a country's record and metadata are written down: stable JSON, the same bytes for the same content."""

import dataclasses
import hashlib
import json
from datetime import datetime
from typing import Any

from flag_pipeline.errors import ErrorKind
from flag_pipeline.models import (
    ColourShare,
    Country,
    FlagChange,
    FlagRecord,
    ImageLook,
    Miss,
    StoredImage,
    StoredMetadata,
    Validators,
)

SCHEMA = 1


def dump_json(document: object) -> bytes:
    """Return *document* as UTF-8 JSON with sorted keys, two spaces and a final line feed."""
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True, default=_plain)
    return f"{text}\n".encode()


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def dump_country(country: Country) -> bytes:
    """Return the metadata document that is stored for *country*."""
    return dump_json(dataclasses.asdict(country))


def country_sha256(country: Country) -> str:
    """The content hash of a country's metadata, its data version."""
    return hashlib.sha256(dump_country(country)).hexdigest()


def dump_record(record: FlagRecord) -> bytes:
    """Return *record* as it is stored; `load_record` reads it back."""
    return dump_json({"schema": SCHEMA, **dataclasses.asdict(record)})


def load_record(content: bytes) -> FlagRecord:
    """Return the record that `dump_record` wrote.

    Raises ValueError when *content* is no record of this schema.
    """
    document = json.loads(content)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError("not a flag record of schema 1")
    try:
        return FlagRecord(
            code=document["code"],
            image=_load_image(document["image"]),
            metadata=_load_metadata(document["metadata"]),
            country=Country(**document["country"]) if document["country"] else None,
            miss=Miss(ErrorKind(document["miss"]["kind"]), document["miss"]["reason"]) if document["miss"] else None,
            changes=tuple(_load_change(change) for change in document.get("changes", ())),
        )
    except (KeyError, TypeError) as exc:
        raise ValueError(f"a flag record without {exc}") from exc


def _load_image(fields: dict[str, Any] | None) -> StoredImage | None:
    if fields is None:
        return None
    first_seen_at, look = fields.get("first_seen_at"), fields.get("look")
    return StoredImage(
        **{
            **fields,
            "fetched_at": datetime.fromisoformat(fields["fetched_at"]),
            "changed_at": datetime.fromisoformat(fields["changed_at"]),
            "validators": Validators(**fields["validators"]),
            "first_seen_at": datetime.fromisoformat(first_seen_at) if first_seen_at else None,
            "look": _load_look(look) if look else None,
        }
    )


def _load_look(fields: dict[str, Any]) -> ImageLook:
    return ImageLook(**{**fields, "colours": tuple(ColourShare(**colour) for colour in fields["colours"])})


def _load_change(fields: dict[str, Any]) -> FlagChange:
    return FlagChange(**{**fields, "changed_at": datetime.fromisoformat(fields["changed_at"])})


def _load_metadata(fields: dict[str, Any] | None) -> StoredMetadata | None:
    if fields is None:
        return None
    return StoredMetadata(**{**fields, "validators": Validators(**fields["validators"])})
