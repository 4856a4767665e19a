"""Optional functions of a step over partitions."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from flag_pipeline.isolation.outcomes import Missed


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on absent partitions.

    Attributes:
        outcomes: one per partition, absent or failed.
        problem: why the step fails although no partition failed, else empty.
    """

    outcomes: Sequence[Missed]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Optional functions that `run_partitions` calls.

    Attributes:
        still_there: returns the retried run's keys whose data still exists; by default, all.
        prepare: gets the keys before they run. Its error fails the step.
        revoke: returns keys with wrong outcomes. With True, after all partitions, they run again, and it is called
            again. With False, after the deadline or an interrupt, they fail.
        note_failure: returns the outcome to record for a failure by deadline, interrupt, `judge` or an exception other
            than `dg.Failure`. What it raises fails only the partition.
        judge: gets the absent partitions and the number of delivered ones. Absences are recorded after it.
    """

    still_there: Callable[[Sequence[str]], Collection[str]] | None = None
    prepare: Callable[[Sequence[str]], Awaitable[None]] | None = None
    revoke: Callable[[bool], Awaitable[Iterable[str]]] | None = None
    note_failure: Callable[[Missed], Awaitable[Missed]] | None = None
    judge: Callable[[Sequence[Missed], int], Awaitable[Verdict]] | None = None


NO_HOOKS = Hooks()
