"""The sections of the benchmark by letter."""

from collections.abc import Callable, Iterator

from benchmarks.comparisons import (
    Extent,
    Result,
    conditional,
    event_logs,
    hostile_answer,
    idioms,
    partitions,
    plain_script,
    small_backlog,
)
from benchmarks.real_sized import real_sizes

Section = Callable[[Extent], Iterator[Result]]
SECTIONS: dict[str, tuple[str, Section]] = {
    "a": ("Our run and a plain script", plain_script),
    "b": ("Our run and Dagster's idioms", idioms),
    "c": ("Our event log and Dagster's", event_logs),
    "d": ("Partitions, seconds and memory", partitions),
    "e": ("Conditional refresh and full fetch", conditional),
    "f": ("A server with a small backlog", small_backlog),
    "g": ("A hostile answer and a damaged store", hostile_answer),
    "h": ("Flags of real size", real_sizes),
}
