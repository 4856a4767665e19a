"""Runs many partitions at once, up to a limit and a deadline."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import dagster as dg

from flag_pipeline.isolation.hooks import NO_HOOKS, Hooks
from flag_pipeline.isolation.outcomes import Delivered, Ended, Missed, Outcome

# Tasks per allowed call: the others record or wait to retry.
IN_PROGRESS = 2
# Limits of the hooks for all partitions together.
AFTER_DEADLINE_S = 10.0
AFTER_INTERRUPT_S = 1.0
TIMEOUT_KIND = "timeout"
INTERRUPTED_KIND = "interrupted"
INTERRUPTED = "its first outcome was wrong, and the step was interrupted before the partition ran again"

Run = Callable[[str], Awaitable[Ended]]
Settle = Callable[[Ended], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Limits:
    """A step's limits: arguments of `per_partition`."""

    max_concurrent: int = 16
    timeout_s: float | None = None
    step_timeout_s: float | None = None
    retry_policy: dg.RetryPolicy | None = None

    def __post_init__(self) -> None:
        if self.max_concurrent < 1:
            raise dg.DagsterInvalidDefinitionError(f"max_concurrent must be at least 1, not {self.max_concurrent}.")


async def for_each(keys: Iterable[str], run: Run, settle: Settle, limits: Limits, hooks: Hooks = NO_HOOKS) -> str:
    """Run every key, settle each outcome at once, and return the problem from `hooks.judge`.

    Keys fail with kind `timeout` after `limits.step_timeout_s`. A cancellation settles only what `hooks.revoke`
    returns. The first error of *settle* is raised.
    """
    partitions = _Partitions(keys, settle, limits, hooks)
    try:
        async with _within(limits.step_timeout_s):
            await partitions.run_all(run)
    except asyncio.CancelledError:
        async with _within(AFTER_INTERRUPT_S):
            for key in await partitions.revoke(is_complete=False):
                await partitions.settle(await partitions.noted(_interrupted(key)))
        raise
    async with _within(AFTER_DEADLINE_S):
        await partitions.revoke(is_complete=False)
    await partitions.settle_as({key: _too_late(key, limits) for key in partitions.waiting})
    return await partitions.judge()


class _Partitions:
    def __init__(self, keys: Iterable[str], settle: Settle, limits: Limits, hooks: Hooks) -> None:
        self.waiting = dict.fromkeys(keys)
        self._settle = settle
        self._n_tasks = IN_PROGRESS * limits.max_concurrent
        self._hooks = hooks
        self._delivered: set[str] = set()
        self._absent: dict[str, Missed] = {}

    async def run_all(self, run: Run) -> None:
        await self._settle_each(run, self._settle_or_postpone)
        while await self.revoke(is_complete=True):
            await self._settle_each(run, self._settle_or_postpone)

    async def revoke(self, *, is_complete: bool) -> list[str]:
        if self._hooks.revoke is None:
            return []
        keys = sorted({*await self._hooks.revoke(is_complete)} - self.waiting.keys())
        self._delivered.difference_update(keys)
        for key in keys:
            self._absent.pop(key, None)
        self.waiting |= dict.fromkeys(keys)
        return keys

    async def judge(self) -> str:
        if self._hooks.judge is None or not self._absent:
            return ""
        verdict = await self._hooks.judge(list(self._absent.values()), len(self._delivered))
        await self.settle_as({missed.key: missed for missed in verdict.outcomes})
        return verdict.problem

    async def settle_as(self, outcomes: Mapping[str, Missed]) -> None:
        """Settle *outcomes*, as `noted` while there is time."""
        self.waiting |= dict.fromkeys(outcomes)
        async with _within(AFTER_DEADLINE_S):
            await self._settle_each(lambda key: self.noted(outcomes[key]), self.settle)
        for key in list(self.waiting):
            await self.settle(outcomes[key])

    async def noted(self, missed: Missed) -> Missed:
        if self._hooks.note_failure is None or missed.outcome is not Outcome.FAILED:
            return missed
        return await self._hooks.note_failure(missed)

    async def settle(self, ended: Ended) -> None:
        del self.waiting[ended.key]
        if isinstance(ended, Delivered):
            self._delivered.add(ended.key)
        await self._settle(ended)

    async def _settle_or_postpone(self, ended: Ended) -> None:
        if self._hooks.judge is not None and isinstance(ended, Missed) and ended.outcome is Outcome.ABSENT:
            del self.waiting[ended.key]
            self._absent[ended.key] = ended
        else:
            await self.settle(ended)

    async def _settle_each(self, obtain: Run, settle: Settle) -> None:
        todo = iter(list(self.waiting))

        async def work() -> None:
            for key in todo:
                await settle(await obtain(key))

        async with asyncio.TaskGroup() as group:
            for number in range(min(len(self.waiting), self._n_tasks)):
                group.create_task(work(), name=f"partitions-{number}")


@asynccontextmanager
async def _within(limit_s: float | None) -> AsyncIterator[None]:
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            yield


def _too_late(key: str, limits: Limits) -> Missed:
    reason = f"the step was ended after {limits.step_timeout_s:g} s, before this partition was done"
    return Missed(key, Outcome.FAILED, reason, TIMEOUT_KIND, is_transient=True, attempts=0)


def _interrupted(key: str) -> Missed:
    return Missed(key, Outcome.FAILED, INTERRUPTED, INTERRUPTED_KIND, is_transient=True, attempts=0)
