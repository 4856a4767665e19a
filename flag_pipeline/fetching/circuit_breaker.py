"""Circuit breaker: stops requests to a host that cannot be reached."""

import asyncio
import math

FIRST_PAUSE_S = 0.1


class CircuitBreaker:
    """Opens when no connection could be made for *down_after_s* seconds.

    It counts time, not failures, because many requests may wait for a restarting server.
    """

    def __init__(self, *, down_after_s: float) -> None:
        self._down_after_s = down_after_s
        self._answered_at = -math.inf
        self._failing_since = math.inf
        self.is_open = False

    @property
    def has_answered(self) -> bool:
        """Whether the host has answered any request."""
        return self._answered_at > -math.inf

    def record_answer(self) -> None:
        """Record an answer of any status."""
        self._answered_at = _now()
        self._failing_since = math.inf

    def record_failure(self, started_at: float) -> float:
        """Return the seconds to pause after an attempt at *started_at* got no connection; they double.

        Attempts begun before the latest answer do not count.
        """
        if started_at >= self._answered_at:
            self._failing_since = min(self._failing_since, started_at)
        failing_s = _now() - self._failing_since
        self.is_open = self.is_open or failing_s >= self._down_after_s
        return min(max(FIRST_PAUSE_S, failing_s), max(0.0, self._down_after_s - failing_s))


def _now() -> float:
    return asyncio.get_running_loop().time()
