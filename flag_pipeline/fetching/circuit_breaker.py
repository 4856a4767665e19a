"""When a host that cannot be reached is given up."""

import math

from flag_pipeline.fetching.limiter import FIRST_PAUSE_S, _now


class CircuitBreaker:
    """Gives a host up when for *down_after_s* seconds no connection to it could be opened.

    It goes by time, so that a server that restarts is waited for, however many requests want to reach it; and the
    pauses that it asks for double, so that a host that is down is knocked at a few times only.
    """

    def __init__(self, *, down_after_s: float) -> None:
        self._down_after_s = down_after_s
        self._answered_at = -math.inf
        self._failing_since = math.inf
        self.is_open = False

    @property
    def has_answered(self) -> bool:
        """Whether the host has answered anything at all so far."""
        return self._answered_at > -math.inf

    def answered(self) -> None:
        """Note an answer, whatever it says: the host is there."""
        self._answered_at = _now()
        self._failing_since = math.inf

    def failed(self, started_at: float) -> float:
        """Note that an attempt begun at *started_at* got no connection; give the seconds to leave the host alone for.

        Opens the circuit breaker when that has gone on for too long. An attempt during which another one was answered
        proves nothing, because that answer may have asked for the pause.
        """
        if started_at >= self._answered_at:
            self._failing_since = min(self._failing_since, started_at)
        failing_s = _now() - self._failing_since
        self.is_open = self.is_open or failing_s >= self._down_after_s
        return min(max(FIRST_PAUSE_S, failing_s), max(0.0, self._down_after_s - failing_s))
