"""The result of a step, and the failure that it raises."""

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
    """The latest outcome of each partition, with reasons.

    Attributes:
        requested: number of partitions, without carried-over ones.
        blocked: failed partitions by blocking check.
        problem: as in `Verdict`.
    """

    requested: int
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    blocked: Mapping[str, Sequence[str]] = field(default_factory=dict)
    problem: str = ""
    _misses: dict[str, Missed] = field(default_factory=dict)

    def add(self, ended: Ended) -> None:
        """Replace the partition's outcome."""
        self.outcomes[ended.key] = ended.outcome
        self._misses.pop(ended.key, None)
        if isinstance(ended, Missed):
            # The event log has tracebacks; many would fill the memory.
            self._misses[ended.key] = replace(ended, traceback="")

    @property
    def counts(self) -> Counter[Outcome]:
        """Number of partitions by outcome."""
        return Counter(self.outcomes.values())

    @property
    def absent(self) -> list[Missed]:
        """The absent partitions."""
        return [missed for missed in self._misses.values() if missed.outcome is Outcome.ABSENT]

    @property
    def failed(self) -> list[Missed]:
        """The failed partitions."""
        return [missed for missed in self._misses.values() if missed.outcome is Outcome.FAILED]

    @property
    def has_failed(self) -> bool:
        """Whether the step fails."""
        return bool(self.problem or self.blocked or self.failed)


class Interrupted(KeyboardInterrupt):
    """A signal ended the step before its last partition; what was recorded stays.

    Attributes:
        signal: its name, such as `SIGINT`; empty if unknown.
        summary: of the partitions that had ended.
    """

    def __init__(self, signal: str, summary: Summary) -> None:
        n_ended = len(summary.outcomes)
        super().__init__(
            f"interrupted by {signal or 'a signal'}: {n_ended} of {summary.requested} partitions had ended"
        )
        self.signal = signal
        self.summary = summary


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
    """Return a step's failure: counts, first reasons, and a table.

    *one* and *many* are words for a partition; *row* makes its row.
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
    """How a step reports its result; *failure* makes the failure of the step."""

    tags: EventTags = DEFAULT_TAGS
    failure: Callable[[Summary], dg.Failure] = failure
