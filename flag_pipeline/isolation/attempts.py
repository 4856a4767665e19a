"""Calls a partition's function with retries and a timeout; its errors become outcomes."""

import asyncio
import re
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import dagster as dg

from flag_pipeline.isolation.concurrency import TIMEOUT_KIND, Limits
from flag_pipeline.isolation.outcomes import Delivered, Ended, Missed, Outcome

E = TypeVar("E", Delivered | Missed, Missed)

MAX_REASON_CHARS = 2_000
MAX_TRACEBACK_CHARS = 4_000
MAX_KIND_CHARS = 63  # what Dagster allows in a tag


class PartitionRunner:
    """Calls a partition's function, and again if the retry policy allows it.

    Attributes:
        call: calls the function with a key.
        finish: makes and stores the outcome of a key, a returned value and an attempt's number.
        note_failure: `Hooks.note_failure`, called if the last attempt raised.
    """

    def __init__(
        self,
        call: Callable[[str], Awaitable[Any]],
        finish: Callable[[str, Any, int], Awaitable[Ended]],
        limits: Limits,
        note_failure: Callable[[Missed], Awaitable[Missed]] | None = None,
    ) -> None:
        self.call = call
        self.finish = finish
        self._limits = limits
        self._note_failure = note_failure
        # Held by attempts: waiting for a retry blocks no other partition.
        self._slots = asyncio.Semaphore(limits.max_concurrent)

    async def run(self, key: str) -> Ended:
        """Return how the partition ended, even if its function raises."""
        attempt = 1
        while True:
            async with self._slots:
                ended, delay_s = await self._attempt(key, attempt)
            if delay_s is None:
                break
            await asyncio.sleep(delay_s)
            attempt += 1
        return await self.noted(ended) if isinstance(ended, Missed) and ended.traceback else ended

    async def noted(self, missed: Missed) -> Missed:
        """Return `note_failure`'s outcome; if it raises, that error, with both tracebacks."""
        if self._note_failure is None:
            return missed
        deadline = asyncio.timeout(None)
        noted, _ = await self._contained(missed.key, missed.attempts, self._note_failure(missed), deadline)
        first = "" if missed.traceback in noted.traceback else missed.traceback
        return replace(noted, traceback=first + noted.traceback)

    async def _attempt(self, key: str, attempt: int) -> tuple[Ended, float | None]:
        deadline = asyncio.timeout(self._limits.timeout_s)
        return await self._contained(key, attempt, self._call_and_finish(key, attempt, deadline), deadline)

    async def _call_and_finish(self, key: str, attempt: int, deadline: asyncio.Timeout) -> Ended:
        async with deadline:
            returned = await self.call(key)
        return await self.finish(key, returned, attempt)

    async def _contained(
        self, key: str, attempt: int, work: Awaitable[E], deadline: asyncio.Timeout
    ) -> tuple[E | Missed, float | None]:
        """Return the result of *work* or its failure, and the seconds until the next attempt, if any."""
        ended: E | Missed
        try:
            ended = await work
        except dg.RetryRequested as request:
            delay_s = float(request.seconds_to_wait or 0) if attempt <= request.max_retries else None
            return _missed(key, request.__cause__ or request, attempt), delay_s
        except asyncio.CancelledError as exc:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            ended = _missed(key, exc, attempt)  # raised by the function, it would end the worker silently
        except Exception as exc:  # noqa: BLE001 - the boundary of a partition
            ended = _timed_out(key, attempt, self._limits) if deadline.expired() else _missed(key, exc, attempt)
        return ended, self._delay_s(ended, attempt)

    def _delay_s(self, ended: Ended, attempt: int) -> float | None:
        policy = self._limits.retry_policy
        may_retry = isinstance(ended, Missed) and ended.outcome is Outcome.FAILED and ended.is_transient
        if policy is None or not may_retry or attempt > policy.max_retries:
            return None
        return float(policy.calculate_delay(attempt))


def _timed_out(key: str, attempt: int, limits: Limits) -> Missed:
    reason = f"no result after {limits.timeout_s:g} s"
    return Missed(key, Outcome.FAILED, reason, TIMEOUT_KIND, is_transient=True, attempts=attempt)


def _missed(key: str, exc: BaseException, attempt: int) -> Missed:
    if isinstance(exc, dg.Failure):
        return Missed(
            key,
            Outcome.FAILED,
            shortened(exc.description or "the function raised dg.Failure without a description"),
            "Failure",
            is_transient=exc.allow_retries is not False,
            attempts=attempt,
            metadata=exc.metadata or {},
        )
    return Missed(
        key,
        Outcome.FAILED,
        shortened(_message(exc)),
        as_kind(type(exc).__name__),
        is_transient=True,
        attempts=attempt,
        traceback="".join(traceback.format_exception(exc))[-MAX_TRACEBACK_CHARS:],
    )


def _message(exc: BaseException) -> str:
    """Return the exception's text, or its class; `__str__` may raise."""
    name, _, text = "".join(traceback.TracebackException.from_exception(exc).format_exception_only()).partition(": ")
    return text.strip() or name.strip()


def shortened(reason: str) -> str:
    """Return the reason, cut to `MAX_REASON_CHARS`."""
    return reason if len(reason) <= MAX_REASON_CHARS else f"{reason[:MAX_REASON_CHARS]}…"


def as_kind(word: str) -> str:
    """Return the word as Dagster allows it in a tag."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", word)[:MAX_KIND_CHARS]
