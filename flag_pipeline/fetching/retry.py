"""When failed requests are retried; `http_errors.py` says which."""

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
class Attempt:
    """One attempt: seconds left of the total time, and the previous attempt's error."""

    left_s: float
    last: TransientSourceError | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter.

    The wait after attempt *n* is random, up to `min(max_s, initial_s * 2 ** (n - 1))`, or the server's
    Retry-After. `total_s` bounds attempts and waits together.
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
        self, attempt: Callable[[Attempt], Awaitable[T]], *, turn: Turn = nullcontext, sleep: Sleep = asyncio.sleep
    ) -> T:
        """Call *attempt* while it raises TransientSourceError.

        Waiting to enter *turn* does not count. Sets `attempts` of a SourceError.
        """
        loop, left_s, last, number = asyncio.get_running_loop(), self.total_s, None, 0
        while True:
            number += 1
            try:
                async with turn():
                    started_at = loop.time()
                    return await attempt(Attempt(left_s, last))
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
        """Return how much of a Retry-After is obeyed."""
        return min(retry_after_s, self.retry_after_max_s)

    def _wait_s(self, error: TransientSourceError, number: int) -> float:
        if error.retry_after_s is not None:
            return self.obeyed_s(error.retry_after_s)
        return random.uniform(0, min(self.max_s, self.initial_s * 2 ** (number - 1)))  # noqa: S311 - spreads load only
