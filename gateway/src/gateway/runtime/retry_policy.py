"""How long a turn waits for its engine, and how often it tries again."""

import time
from dataclasses import dataclass

_DELAYS_SECONDS = (0.1, 0.2, 0.5, 1.0)
# Enough for a server that is shutting down; bounds the retries of a request that crashes a healthy one.
_MAX_CRASHES = 5


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`engine_seconds`: how long a turn waits for an engine that is away. `token_seconds`: how long for the next token
    of an engine that has begun to answer."""

    engine_seconds: float = 120.0
    token_seconds: float = 30.0


class Backoff:
    """Measured from the last token, across all attempts: an engine that is reachable and refuses gets no more time than
    one that is away."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: float | None = None
        self._failures = self._crashes = 0

    @property
    def seconds(self) -> float:
        return _DELAYS_SECONDS[min(self._failures, len(_DELAYS_SECONDS) - 1)]

    def next_delay(self, *, progressed: bool, crashed: bool = False) -> float | None:
        """Seconds before the next attempt, 0 for at once, None to give up. `progressed`: the last attempt generated
        tokens; `crashed`: it ended in an error inside the engine."""
        now = time.monotonic()
        self._crashes = (0 if progressed else self._crashes) + crashed
        if self._crashes > _MAX_CRASHES:
            return None
        if progressed or self._deadline is None:
            self._deadline, self._failures = now + self._seconds, 0
            return 0.0
        if now > self._deadline:
            return None
        self._failures += 1
        return self.seconds if self._failures > 1 else 0.0
