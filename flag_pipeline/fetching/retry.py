"""Retry policy: how often and after how long a request is retried. `http_errors` decides what is retried."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from flag_pipeline.errors import SourceError, TransientSourceError
from flag_pipeline.fetching.config import HttpSettings

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Turn = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt.

    Attributes:
        left_s: seconds that are left of the policy's total time.
        last: the error of the attempt before; None on the first.
    """

    left_s: float
    last: TransientSourceError | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter, bounded by attempts and by total time.

    The wait before attempt *n* + 1 is random, up to `initial_s * 2 ** (n - 1)` and at most `max_s`. If the server sent
    Retry-After, the wait is exactly that long, at most `retry_after_max_s`. The last attempt is number `attempts`, or
    the one after which attempts and waits together would take longer than `total_s`.
    """

    attempts: int
    initial_s: float
    max_s: float
    total_s: float
    retry_after_max_s: float

    @classmethod
    def from_settings(cls, settings: HttpSettings) -> "RetryPolicy":
        """Return the policy of *settings*."""
        return cls(
            attempts=settings.attempts,
            initial_s=settings.retry_initial_s,
            max_s=settings.retry_max_s,
            total_s=settings.retry_total_s,
            retry_after_max_s=settings.retry_after_max_s,
        )

    async def call(
        self, attempt: Callable[[Try], Awaitable[T]], *, turn: Turn = nullcontext, sleep: Sleep = asyncio.sleep
    ) -> T:
        """Return what *attempt* returns, calling it again while it raises TransientSourceError.

        Each call happens inside *turn*; the wait to enter it does not count towards the total time. When the attempts
        are used up, the last error is raised. A SourceError has `attempts` set to the number of calls.
        """
        loop, left_s, last, number = asyncio.get_running_loop(), self.total_s, None, 0
        while True:
            number += 1
            try:
                async with turn():
                    started_at = loop.time()
                    return await attempt(Try(left_s, last))
            except TransientSourceError as exc:
                last = exc.after(number)
                wait_s = self._wait_s(exc, number)
                left_s -= loop.time() - started_at + wait_s
                if number == self.attempts or left_s <= 0:
                    raise
            except SourceError as exc:
                exc.after(number)
                raise
            await sleep(wait_s)

    def obeyed_s(self, retry_after_s: float) -> float:
        """Return the seconds of a server's Retry-After that are obeyed."""
        return min(retry_after_s, self.retry_after_max_s)

    def _wait_s(self, error: TransientSourceError, number: int) -> float:
        if error.retry_after_s is not None:
            return self.obeyed_s(error.retry_after_s)
        return random.uniform(0, min(self.max_s, self.initial_s * 2 ** (number - 1)))  # noqa: S311 - spreads load only
