"""Events as JSON that Dagster reads; what events have in common is serialised once.

It is a tenth shorter than Dagster's, without spaces between parts or empty descriptions.
"""

import json
import re
import secrets
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import chain
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from dagster._serdes import serialize_value

# Metadata values with one field.
_FIELDS: dict[type, str] = {
    dg.FloatMetadataValue: "value",
    dg.IntMetadataValue: "value",
    dg.MarkdownMetadataValue: "md_str",
    dg.TextMetadataValue: "text",
    dg.UrlMetadataValue: "url",
}
_ENCODERS: dict[type, Callable[[Any], str]] = {str: encode_basestring_ascii, int: repr, float: json.dumps}
# Sixteen digits that no label has.
_FIRST_PLACEHOLDER = 10**15 + secrets.randbelow(10**15)


class _Frame(NamedTuple):
    before: str
    between: str
    end: str


def event_json(event: dg.EventLogEntry) -> str:
    """Return JSON that `deserialize_value` reads as *event*."""
    told = event.dagster_event
    if told is None or told.event_specific_data is None:
        return _dump(event)
    before, between, end = _frame_of(event, told)
    # JSON floats are their repr.
    return f"{before}{_data_json(told.event_specific_data)}{between}{event.timestamp!r}{end}"


class _Shape(NamedTuple):
    asset_key: dg.AssetKey
    labels: tuple[str, ...]
    kinds: tuple[type, ...]
    tags: tuple[str, ...]
    types: tuple[type, ...]


def _data_json(data: object) -> str:
    """Return `_dump` of *data*, in a fifth of the time if it is planned or has plain metadata."""
    if isinstance(data, AssetMaterializationPlannedData) and data.partition and data.partitions_subset is None:
        before, end = _planned_frame(data.asset_key)
        return f"{before}{encode_basestring_ascii(data.partition)}{end}"
    made = data.materialization if isinstance(data, StepMaterializationData) and not data.asset_lineage else None
    if made is None or made.description is not None or made.tags is None:
        return _dump(data)
    labels, entries = tuple(made.metadata), tuple(made.metadata.values())
    kinds = tuple(map(type, entries))
    if not _FIELDS.keys() >= set(kinds):
        return _dump(data)
    plain = [getattr(entry, _FIELDS[kind]) for entry, kind in zip(entries, kinds, strict=True)]
    values = [*plain, made.partition, *made.tags.values()]
    types = tuple(map(type, values))
    if not _ENCODERS.keys() >= set(types):
        return _dump(data)
    parts, order = _template_of(_Shape(made.asset_key, labels, kinds, tuple(made.tags), types))
    cells = [_ENCODERS[types[number]](values[number]) for number in order]
    return "".join(chain.from_iterable(zip(parts, [*cells, ""], strict=True)))


@lru_cache(maxsize=128)
def _template_of(shape: _Shape) -> tuple[list[str], list[int]]:
    """Return the texts around the values, and the values' numbers in the order of the text."""
    placeholders = [str(_FIRST_PLACEHOLDER + number) for number in range(len(shape.types))]
    values = [kind(digits) for kind, digits in zip(shape.types, placeholders, strict=True)]
    n = len(shape.kinds)
    made = dg.AssetMaterialization(
        shape.asset_key,
        metadata={label: kind(value) for label, kind, value in zip(shape.labels, shape.kinds, values[:n], strict=True)},
        partition=values[n],
        tags=dict(zip(shape.tags, values[n + 1 :], strict=True)),
    )
    text = _dump(StepMaterializationData(made))
    parts = re.split(rf'"?({"|".join(placeholders)})(?:\.0)?"?', text)
    return parts[::2], [int(digits) - _FIRST_PLACEHOLDER for digits in parts[1::2]]


@lru_cache(maxsize=128)
def _planned_frame(asset_key: dg.AssetKey) -> list[str]:
    partition = str(_FIRST_PLACEHOLDER)
    return _dump(AssetMaterializationPlannedData(asset_key, partition=partition)).split(f'"{partition}"')


def record_json(of_event: str, event_id: int) -> str:
    """Return JSON of an `EventLogRecord`; *of_event* is the event's JSON."""
    before, between, end = _record_frame()
    return f"{before}{of_event}{between}{event_id}{end}"


def _dump(value: Any) -> str:
    text = serialize_value(value, separators=(",", ":"))
    return text.replace('{"__class__":"EventMetadataEntry","description":null,', '{"__class__":"EventMetadataEntry",')


def _frame_of(event: dg.EventLogEntry, told: DagsterEvent) -> _Frame:
    global _latest  # noqa: PLW0603 - one assignment, so threads read a matching pair
    # Copied, because callers may change the tags.
    tags = None if told.logging_tags is None else dict(told.logging_tags)
    shape = (
        event._replace(timestamp=0.0, dagster_event=None),
        told._replace(event_specific_data=None, logging_tags=tags),
    )
    known, frame = _latest
    if known != shape:
        # The first match is the right one: quotes inside strings are escaped.
        before, rest = _dump(event).split(_dump(told.event_specific_data), 1)
        name = '"timestamp":'
        between, end = rest.split(f"{name}{event.timestamp!r}", 1)
        frame = _Frame(before, between + name, end)
        _latest = shape, frame
    return frame


_latest: tuple[object, _Frame] = (None, _Frame("", "", ""))


@cache
def _record_frame() -> _Frame:
    event_id = 987654321
    event = dg.EventLogEntry(None, "debug", "", "", 0.0)  # type: ignore[no-untyped-call]
    before, rest = _dump(dg.EventLogRecord(event_id, event)).split(_dump(event))
    return _Frame(before, *rest.split(str(event_id)))
