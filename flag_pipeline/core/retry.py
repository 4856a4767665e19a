"""The one back-off policy: which failures are asked about again, after how long, and when to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from flag_pipeline.errors import SourceError, TransientSourceError
from flag_pipeline.settings import SourceSettings

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]
Turn = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter, bounded by attempts and by total time.

    Before attempt *n* + 1 it waits a random time up to `initial_s * 2 ** (n - 1)`, at most `max_s`; or, when the
    server said Retry-After, exactly that long, at most `retry_after_max_s`. It gives up after `attempts`
    requests, or when the next wait would end later than `total_s` after the first.
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
        self, attempt: Callable[[], Awaitable[T]], *, turn: Turn = nullcontext, sleep: Sleep = asyncio.sleep
    ) -> T:
        """Return what *attempt* returns, calling it again while it raises TransientSourceError.

        Each call waits for its *turn* and keeps it; the time runs from the first one, for a file that waits long
        behind others has not been asked for yet. The last error leaves as it is; a SourceError has `attempts` set to
        the number of calls made.
        """
        try:
            # Nearly every file needs no more, and entering tenacity's loop costs as much as sending the request.
            async with turn():
                started_at = asyncio.get_running_loop().time()
                return await attempt()
        except TransientSourceError as exc:
            first = [exc]

        async def next_attempt() -> T:
            if first:
                raise first.pop()
            async with turn():
                return await attempt()

        retrying = AsyncRetrying(
            sleep=sleep,
            stop=stop_after_attempt(self.attempts)
            | stop_before_delay(self.total_s - (asyncio.get_running_loop().time() - started_at)),
            wait=self._wait_s,
            retry=retry_if_exception_type(TransientSourceError),
            reraise=True,
        )
        try:
            return await retrying(next_attempt)
        except SourceError as error:
            raise error.after(retrying.statistics["attempt_number"]) from error.__cause__

    def obeyed_s(self, retry_after_s: float) -> float:
        """How much of a server's Retry-After is obeyed."""
        return min(retry_after_s, self.retry_after_max_s)

    def _wait_s(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, TransientSourceError) and error.retry_after_s is not None:
            return self.obeyed_s(error.retry_after_s)
        return wait_random_exponential(multiplier=self.initial_s, max=self.max_s)(state)
