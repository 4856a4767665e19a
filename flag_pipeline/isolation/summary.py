"""What came of a step: counts, the partitions that brought nothing, and the failure that says so."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg

from flag_pipeline.isolation.event_tags import DEFAULT_TAGS, EventTags
from flag_pipeline.isolation.outcomes import Ended, Missed, Outcome

NAMED_IN_FAILURE = 10
ROWS_IN_FAILURE = 1_000


@dataclass(slots=True)
class Summary:
    """Counts by outcome, and the partitions that were not delivered.

    Attributes:
        requested: how many partitions the run has to run, without those that the run before had delivered.
        blocked: by the name of each blocking check that failed, the partitions that it failed for.
    """

    requested: int
    counts: Counter[Outcome] = field(default_factory=Counter)
    absent: list[Missed] = field(default_factory=list)
    failed: list[Missed] = field(default_factory=list)
    blocked: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def add(self, ended: Ended) -> None:
        """Count one partition's outcome."""
        self.counts[ended.outcome] += 1
        if isinstance(ended, Missed):
            # The traceback is in the event log; kept here, those of many failures would fill the memory.
            misses = self.absent if ended.outcome is Outcome.ABSENT else self.failed
            misses.append(replace(ended, traceback=""))

    @property
    def has_failed(self) -> bool:
        """Whether the step has to fail."""
        return bool(self.failed or self.blocked)


def failure(summary: Summary) -> dg.Failure:
    """Return the failure of a step: how many failed, the first of them with the reason, and all of them in a table."""
    failed = sorted(summary.failed, key=lambda missed: missed.key)
    partitions = "partition" if summary.requested == 1 else "partitions"
    lines = [f"{len(failed)} of {summary.requested} {partitions} failed"]
    lines += [f"{missed.key} {missed.kind}: {missed.reason}" for missed in failed[:NAMED_IN_FAILURE]]
    if len(failed) > NAMED_IN_FAILURE:
        lines.append(f"and {len(failed) - NAMED_IN_FAILURE} more, in the table `failed`")
    for name, keys in summary.blocked.items():
        lines.append(f"The blocking check {name} failed for {', '.join(keys[:NAMED_IN_FAILURE])}")
    return dg.Failure(
        "\n".join(lines),
        metadata={"failed": dg.MetadataValue.table([_row(missed) for missed in failed[:ROWS_IN_FAILURE]])}
        if failed
        else {},
        allow_retries=any(missed.is_transient for missed in failed),
    )


def _row(missed: Missed) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "partition": missed.key,
            "kind": missed.kind,
            "reason": missed.reason,
            "attempts": missed.attempts,
            "transient": missed.is_transient,
        }
    )


@dataclass(frozen=True, slots=True)
class Reporting:
    """How a step says what came of its partitions.

    Attributes:
        tags: names and words on the events.
        failure: makes the failure of a step that has failed.
    """

    tags: EventTags = DEFAULT_TAGS
    failure: Callable[[Summary], dg.Failure] = failure
