"""Runs a step over many partitions, from the requested keys to its last events."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from flag_pipeline.isolation.attempts import PartitionRunner
from flag_pipeline.isolation.checks import CheckResults
from flag_pipeline.isolation.concurrency import Limits, for_each
from flag_pipeline.isolation.dagster_private import NO_ASSET_EVENT
from flag_pipeline.isolation.event_tags import EventTags
from flag_pipeline.isolation.hooks import NO_HOOKS, Hooks
from flag_pipeline.isolation.interrupts import interrupts_cancel_task
from flag_pipeline.isolation.io_managers import has_values, store_values
from flag_pipeline.isolation.outcomes import Delivered, Ended, Outcome, ended, validated
from flag_pipeline.isolation.provenance import Provenance
from flag_pipeline.isolation.recording import EventWriter, Recorder
from flag_pipeline.isolation.reexecution import delivered_before, record_again, recorded_by_this_run
from flag_pipeline.isolation.requested import requested_keys
from flag_pipeline.isolation.step import Step
from flag_pipeline.isolation.summary import Interrupted, Reporting, Summary

Function = Callable[[str], Any]
_DEFAULT_LIMITS = Limits()
_DEFAULT_REPORTING = Reporting()


def run_partitions(
    context: dg.AssetExecutionContext,
    function: Function,
    *,
    partition_keys: Sequence[str] | None = None,
    limits: Limits = _DEFAULT_LIMITS,
    reporting: Reporting = _DEFAULT_REPORTING,
    hooks: Hooks = NO_HOOKS,
) -> Iterator[Any]:
    """Call *function* with each partition key of the run, isolated; yield what ends the step.

    It is for generator assets that prepare something once per step, or take *limits* from a resource: `yield from
    run_partitions(context, ...)`. *partition_keys* lists the partitions of a run that has none. Raises `dg.Failure`
    after the last partition if any failed, and `Interrupted` for Ctrl-C or a termination.
    """
    step = Step(context)
    keys = requested_keys(step, partition_keys)
    writer = EventWriter(step, reporting.tags, CheckResults(step), Provenance(step))
    recorded = recorded_by_this_run(step, reporting.tags)
    carried = delivered_before(step, [key for key in keys if key not in recorded], reporting.tags, hooks)
    done = {*recorded, *carried}
    todo = [key for key in keys if key not in done]
    summary = Summary(requested=len(keys) - len(carried))
    partitions = _Partitions(step, function, writer, summary)
    try:
        _run_on_loop(step, lambda: partitions.run(todo, limits, hooks))
    except dg.Failure:  # `hooks.prepare` ended it
        record_again(writer, carried)
        raise
    except KeyboardInterrupt as exc:
        record_again(writer, carried)
        raise Interrupted(str(exc), summary) from None
    summary.blocked = writer.checks.blocking()
    _log(step, summary, reporting.tags, n_skipped=len(keys) - len(todo))
    yield from _end(writer, summary, reporting, carried)


@dataclass(frozen=True)
class _Partitions:
    step: Step
    function: Function
    writer: EventWriter
    summary: Summary

    async def run(self, keys: Sequence[str], limits: Limits, hooks: Hooks) -> None:
        n_threads = 1 if inspect.iscoroutinefunction(self.function) else limits.max_concurrent
        threads = ThreadPoolExecutor(n_threads, thread_name_prefix="partitions")
        storing = ThreadPoolExecutor(1, thread_name_prefix="io-manager")
        try:
            with interrupts_cancel_task(), _first_of_group():
                if keys and hooks.prepare is not None:
                    await hooks.prepare(keys)
                async with Recorder(self.writer, n_concurrent=limits.max_concurrent, n_expected=len(keys)) as recorder:

                    async def settle(outcome: Ended) -> None:
                        self.summary.add(outcome)
                        await recorder.record(outcome)

                    async def finish(key: str, returned: Any, attempt: int) -> Ended:
                        return await self._finish(storing, key, returned, attempt)

                    runner = PartitionRunner(self._call(threads), finish, limits, hooks.note_failure)
                    contained = replace(hooks, note_failure=runner.noted)
                    self.summary.problem = await for_each(keys, runner.run, settle, limits, contained)
        finally:
            threads.shutdown(wait=True, cancel_futures=True)
            storing.shutdown(wait=True, cancel_futures=True)

    def _call(self, threads: ThreadPoolExecutor) -> Callable[[str], Awaitable[Any]]:
        if inspect.iscoroutinefunction(self.function):
            return self.function

        async def call_on_thread(key: str) -> Any:
            future = threads.submit(copy_context().run, _call, self.function, key)
            try:
                with suppress(TimeoutError):  # Python 3.11 raises a copy without the traceback
                    await asyncio.wrap_future(future)
                return future.result()
            finally:
                del future  # an error would keep itself, and what it holds open, through this frame

        return call_on_thread

    async def _finish(self, storing: ThreadPoolExecutor, key: str, returned: Any, attempt: int) -> Ended:
        outcome = ended(key, returned, self.step.assets, attempts=attempt)
        if isinstance(outcome, Delivered):
            self.writer.checks.validate(outcome)
            if has_values(outcome):
                # One thread, because Dagster never calls an I/O manager concurrently.
                loop = asyncio.get_running_loop()
                outcome = await loop.run_in_executor(storing, copy_context().run, store_values, self.step, outcome)
        return validated(outcome)


def _call(function: Function, key: str) -> Any:
    try:
        returned = function(key)
    except StopIteration as exc:
        raise RuntimeError("the function raised StopIteration") from exc  # a future cannot hold it
    if inspect.iscoroutine(returned):
        returned.close()
        raise dg.DagsterInvariantViolationError("The function returned a coroutine: declare it with `async def`.")
    return returned


@contextmanager
def _first_of_group() -> Iterator[None]:
    """Raise a group's first error, because the group's message does not show it."""
    try:
        yield
    except ExceptionGroup as group:
        error = group.exceptions[0]
        raise error from error.__cause__


def _run_on_loop(step: Step, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run on the resources' loop, or on another thread if this one runs a loop."""
    if _is_loop_running():
        _run_on_thread(run)
    else:
        step.execution.event_loop.run_until_complete(run())


def _is_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _run_on_thread(run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    started = list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]]()
    is_interrupted, is_done = threading.Event(), threading.Event()

    async def run_cancellable() -> None:
        task = asyncio.current_task()
        if task is not None:
            started.append((asyncio.get_running_loop(), task))
        if not is_interrupted.is_set():
            await run()

    def work() -> None:
        try:
            asyncio.run(run_cancellable())
        finally:
            is_done.set()

    executor = ThreadPoolExecutor(1, thread_name_prefix="partitions-loop")
    try:
        executor.submit(copy_context().run, work).result()
    finally:  # an interrupt may come before the loop runs
        is_interrupted.set()
        for loop, task in started:
            if not task.done():
                loop.call_soon_threadsafe(task.cancel)
        if started:  # `shutdown` would not wait for a thread whose start was interrupted
            is_done.wait()
        executor.shutdown(wait=False)


def _log(step: Step, summary: Summary, tags: EventTags, *, n_skipped: int) -> None:
    outcomes = [outcome for outcome in Outcome if outcome is not Outcome.CARRIED_OVER]
    counts = " ".join(f"{tags.word(outcome)}={summary.counts[outcome]}" for outcome in outcomes)
    step.context.log.info("requested=%d %s", summary.requested, counts)
    if n_skipped:
        step.context.log.info("%d partitions are not run again: an earlier attempt or run delivered them.", n_skipped)


def _end(writer: EventWriter, summary: Summary, reporting: Reporting, carried: Sequence[str]) -> Iterator[Any]:
    step = writer.step
    failure = reporting.failure(summary) if summary.has_failed else None
    if failure is not None and not _will_retry(step, failure):
        record_again(writer, carried)
    # Stored already; the result of `dg.materialize` has what is yielded.
    yield from writer.written
    yield from writer.checks.evaluations()
    if failure is not None:
        raise failure
    for asset_key in step.assets.selected:
        yield dg.MaterializeResult(asset_key=asset_key, metadata={NO_ASSET_EVENT: dg.MetadataValue.bool(True)})
    yield from writer.checks.outputs()


def _will_retry(step: Step, failure: dg.Failure) -> bool:
    policy = step.execution.op_retry_policy
    return policy is not None and bool(failure.allow_retries) and step.context.retry_number < policy.max_retries
