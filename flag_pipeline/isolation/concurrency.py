"""Many partitions at once, up to a limit and a deadline, with one outcome each."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

import dagster as dg

from flag_pipeline.isolation.outcomes import Ended, Missed, Outcome

# Partitions in progress for each call that may be: while some are called, others are stored, recorded or wait to retry.
IN_PROGRESS = 2
# What `on_deadline` may take for all partitions together.
ON_DEADLINE_S = 10.0
TIMEOUT_KIND = "timeout"

OnDeadline = Callable[[Missed], Awaitable[Ended]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one step may take.

    Attributes:
        max_concurrent: calls of the function at once.
        timeout_s: for one call of an async function; a thread cannot be stopped.
        step_timeout_s: for all partitions together; those that are not done then fail.
        retry_policy: for one partition, inside the step.
    """

    max_concurrent: int = 16
    timeout_s: float | None = None
    step_timeout_s: float | None = None
    retry_policy: dg.RetryPolicy | None = None

    def __post_init__(self) -> None:
        if self.max_concurrent < 1:
            raise dg.DagsterInvalidDefinitionError(f"max_concurrent must be at least 1, not {self.max_concurrent}.")


async def for_each(
    keys: Iterable[str],
    run: Callable[[str], Awaitable[Ended]],
    settle: Callable[[Ended], Awaitable[None]],
    limits: Limits,
    on_deadline: OnDeadline | None = None,
) -> None:
    """Run every key and settle each outcome as soon as it is known.

    Keys that are not done after `limits.step_timeout_s` fail with kind `timeout`; *on_deadline* may replace such an
    outcome. Tasks are bounded by `limits.max_concurrent`, not by the number of keys. When cancelled it starts nothing
    more and settles nothing more. The first error of *settle* ends it.
    """
    waiting = dict.fromkeys(keys)

    async def settle_one(ended: Ended) -> None:
        del waiting[ended.key]
        await settle(ended)

    async def settle_each(obtain: Callable[[str], Awaitable[Ended]], within_s: float | None) -> None:
        todo = iter(list(waiting))

        async def work() -> None:
            for key in todo:
                await settle_one(await obtain(key))

        with suppress(TimeoutError):
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as group:
                for number in range(min(len(waiting), IN_PROGRESS * limits.max_concurrent)):
                    group.create_task(work(), name=f"partitions-{number}")

    await settle_each(run, limits.step_timeout_s)
    if waiting and on_deadline is not None:
        notify = on_deadline
        await settle_each(lambda key: notify(_too_late(key, limits)), ON_DEADLINE_S)
    for key in list(waiting):
        await settle_one(_too_late(key, limits))


def _too_late(key: str, limits: Limits) -> Missed:
    reason = f"the step was ended after {limits.step_timeout_s:g} s, before this partition was done"
    return Missed(key, Outcome.FAILED, reason, TIMEOUT_KIND, is_transient=True, attempts=0)
