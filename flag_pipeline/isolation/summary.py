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
    """The latest outcome of each partition, and why those that were not delivered were not.

    Attributes:
        requested: how many partitions the run has to run, without those that the run before had delivered.
        blocked: by the name of each blocking check that failed, the partitions that it failed for.
        problem: why the step fails although no partition has failed, else empty.
    """

    requested: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    blocked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problem: str = ""
    _misses: dict[str, Missed] = field(default_factory=dict)

    def add(self, ended: Ended) -> None:
        """Count one partition's outcome, in place of an earlier one."""
        self.outcomes[ended.key] = ended.outcome
        self._misses.pop(ended.key, None)
        if isinstance(ended, Missed):
            # The traceback is in the event log; kept here, those of many failures would fill the memory.
            self._misses[ended.key] = replace(ended, traceback="")

    @property
    def counts(self) -> Counter[Outcome]:
        """How many partitions have each outcome."""
        return Counter(self.outcomes.values())

    @property
    def absent(self) -> list[Missed]:
        """The partitions that are absent."""
        return [missed for missed in self._misses.values() if missed.outcome is Outcome.ABSENT]

    @property
    def failed(self) -> list[Missed]:
        """The partitions that failed."""
        return [missed for missed in self._misses.values() if missed.outcome is Outcome.FAILED]

    @property
    def has_failed(self) -> bool:
        """Whether the step has to fail."""
        return bool(self.problem or self.blocked or self.failed)


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


def failure(
    summary: Summary,
    *,
    one: str = "partition",
    many: str = "partitions",
    row: Callable[[Missed], dg.TableRecord] = _row,
) -> dg.Failure:
    """Return the failure of a step: how many failed, the first of them with the reason, and all of them in a table.

    *one* and *many* are what a partition is called, and *row* makes its row of the table.
    """
    failed = sorted(summary.failed, key=lambda missed: missed.key)
    lines = [f"{len(failed)} of {summary.requested} {one if summary.requested == 1 else many} failed"]
    if summary.problem:
        lines = [*(lines if failed else []), summary.problem]
    lines += [f"{missed.key} {missed.kind}: {missed.reason}" for missed in failed[:NAMED_IN_FAILURE]]
    if len(failed) > NAMED_IN_FAILURE:
        lines.append(f"and {len(failed) - NAMED_IN_FAILURE} more, in the table `failed`")
    for name, keys in summary.blocked.items():
        lines.append(f"The blocking check {name} failed for {', '.join(keys[:NAMED_IN_FAILURE])}")
    return dg.Failure(
        "\n".join(lines),
        metadata={"failed": dg.MetadataValue.table([row(missed) for missed in failed[:ROWS_IN_FAILURE]])}
        if failed
        else {},
        allow_retries=any(missed.is_transient for missed in failed),
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
