"""Retry policy: which failures are tried again, after how long, and when to stop."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from flag_pipeline.errors import SourceError, TransientSourceError
from flag_pipeline.settings import SourceSettings

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Turn = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Try:
    """What one attempt needs to know.

    Attributes:
        left_s: seconds that this attempt may take, because of the policy's total time.
        last: why the attempt before failed; None on the first.
    """

    left_s: float
    last: TransientSourceError | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter, bounded by attempts and by total time.

    Before attempt *n* + 1 it waits a random time up to `initial_s * 2 ** (n - 1)`, at most `max_s`; or, when the
    server said Retry-After, exactly that long, at most `retry_after_max_s`. It gives up after `attempts` requests, or
    when attempts and waits together would take longer than `total_s`.
    """

    attempts: int
    initial_s: float
    max_s: float
    total_s: float
    retry_after_max_s: float

    @classmethod
    def from_settings(cls, settings: SourceSettings) -> "RetryPolicy":
        """The policy that *settings* describe."""
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

        Each call waits for its *turn* and keeps it; that wait does not count, because the source is not asked then. The
        last error leaves as it is; a SourceError has `attempts` set to the number of calls made.
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
        """How much of a server's Retry-After is obeyed."""
        return min(retry_after_s, self.retry_after_max_s)

    def _wait_s(self, error: TransientSourceError, number: int) -> float:
        if error.retry_after_s is not None:
            return self.obeyed_s(error.retry_after_s)
        return random.uniform(0, min(self.max_s, self.initial_s * 2 ** (number - 1)))  # noqa: S311 - spreads load only
