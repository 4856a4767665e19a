"""What an asset may do at the edges of a step over partitions, beside running each of them."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from flag_pipeline.isolation.outcomes import Missed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the absent partitions of a step are recorded as.

    Attributes:
        outcomes: one for each of them, absent or failed.
        problem: why the step fails although no partition has failed, else empty.
    """

    outcomes: Sequence[Missed]
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that `run_partitions` calls at the edges of a step; each is optional.

    Attributes:
        still_there: returns those of the keys that the retried run delivered whose data still exists. Without it, all.
        prepare: is called with the keys that are about to run, if there are any. What it raises fails the step.
        revoke: returns keys of partitions whose outcomes turned out to be wrong. It is called with True when every
            partition has an outcome: they run again, and it is called again after them. It is called with False when
            the deadline or an interrupt has ended the step: they fail.
        note_failure: returns the outcome to record instead of a failure that the function has not returned: of the
            deadline, of an interrupt that came after `revoke`, or of `judge`.
        judge: decides on the absent partitions, which are recorded only then; the number is that of the partitions
            that this step delivered.
    """

    still_there: Callable[[Sequence[str]], Collection[str]] | None = None
    prepare: Callable[[Sequence[str]], Awaitable[None]] | None = None
    revoke: Callable[[bool], Awaitable[Iterable[str]]] | None = None
    note_failure: Callable[[Missed], Awaitable[Missed]] | None = None
    judge: Callable[[Sequence[Missed], int], Awaitable[Verdict]] | None = None


NO_HOOKS = Hooks()
