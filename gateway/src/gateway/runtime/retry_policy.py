"""How long an answer waits for its engine."""

import time
from dataclasses import dataclass

_PROBE_SECONDS = (0.1, 0.2, 0.5, 1.0)
# Over some seconds: a server that is about to end has done so by then, and what makes a healthy one fail is not tried
# on and on.
_BREAKS = 5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`engine_seconds`: how long an answer waits for an engine that is away. `token_seconds`: how long for one token of
    an engine that has begun to answer."""

    engine_seconds: float = 120.0
    token_seconds: float = 30.0


class Backoff:
    """Since the last token, across all attempts: an engine that is there, and refuses, is waited for no longer than one
    that is away."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self._fruitless = self._broke = 0

    @property
    def seconds(self) -> float:
        return _PROBE_SECONDS[min(self._fruitless, len(_PROBE_SECONDS) - 1)]

    def pause(self, *, progressed: bool, broke: bool = False) -> float | None:
        """Seconds before the next attempt, 0 at once; None: it has been long enough, or often enough for an engine that
        `broke` over it."""
        now = time.monotonic()
        self._broke = (0 if progressed else self._broke) + broke
        if self._broke > _BREAKS:
            return None
        if progressed or self._until is None:
            self._until, self._fruitless = now + self._seconds, 0
            return 0.0
        if now > self._until:
            return None
        self._fruitless += 1
        return self.seconds if self._fruitless > 1 else 0.0
