"""The executor: in-process, and Ctrl-C cancels the run, because Dagster retries failed runs."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode


class CancelableExecutor(dg.Executor):
    """Executes as *inner* does, but SIGINT or a termination in the UI cancels the run.

    Dagster reads the run's status after an interrupt, so the executor sets it.
    """

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> RetryMode:
        """The retry mode of *inner*."""
        return self._inner.retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Yield the events of *inner*."""
        instance, run = plan_context.instance, plan_context.dagster_run
        with signals_noted() as received:
            try:
                for event in self._inner.execute(plan_context, execution_plan):
                    yield event
                    if event.is_step_failure and is_being_canceled(instance, run):
                        break  # a step that says itself that it was interrupted
            except (KeyboardInterrupt, DagsterExecutionInterruptedError):
                if signal.SIGINT in received():
                    instance.report_run_canceling(run)
                raise


def is_being_canceled(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run is being terminated."""
    stored = instance.get_run_by_id(run.run_id)
    return stored is not None and stored.status == dg.DagsterRunStatus.CANCELING


@contextmanager
def signals_noted() -> Iterator[Callable[[], bytes]]:
    """Yield a function that returns received signal numbers.

    Dagster's handlers raise one exception for all signals. Only the main thread gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: b""
        return
    reading, writing = socket.socketpair()
    with reading, writing:
        writing.setblocking(False)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

        def received() -> bytes:
            # One byte more, because `recv` would block without any.
            writing.send(b"\0")
            return reading.recv(4096)

        try:
            yield received
        finally:
            signal.set_wakeup_fd(before)


def _cancelable(context: dg.InitExecutorContext) -> CancelableExecutor:
    create: Any = dg.in_process_executor.executor_creation_fn
    return CancelableExecutor(create(context))


# Configured like Dagster's, so run configuration stays valid.
cancelable_executor = dg.ExecutorDefinition(
    dg.in_process_executor.name,
    dg.in_process_executor.config_schema.as_field(),
    executor_creation_fn=_cancelable,
    description="Executes all steps in one process; Ctrl-C cancels the run.",
)
