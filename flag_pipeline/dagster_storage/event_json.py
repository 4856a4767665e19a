"""Events as JSON that Dagster reads; successive events' common part is serialised once.

It is a tenth shorter than Dagster's, without spaces between parts or empty descriptions.
"""

from functools import cache
from typing import Any, NamedTuple

import dagster as dg
from dagster._core.events import DagsterEvent
from dagster._serdes import serialize_value


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
    return f"{before}{_dump(told.event_specific_data)}{between}{event.timestamp!r}{end}"


def record_json(of_event: str, event_id: int) -> str:
    """Return JSON of an `EventLogRecord`; *of_event* is the event's JSON."""
    before, between, end = _record_frame()
    return f"{before}{of_event}{between}{event_id}{end}"


def _dump(value: Any) -> str:
    # Inside strings, quotes are escaped, so the text is always a key.
    return serialize_value(value, separators=(",", ":")).replace('"description":null,', "")


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
