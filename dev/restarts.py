"""How often the demo starts again what ends."""

_AT_MOST = 5
_HEALTHY_SECONDS = 60


class Restarts:
    """Each process has its own count, and a minute without an end clears it."""

    def __init__(self) -> None:
        self._ends: dict[str, list[float]] = {}

    def allowed(self, name: str, now: float) -> bool:
        """Counts an end of `name`; `now` is in seconds on a clock that only goes forward."""
        ends = self._ends.setdefault(name, [])
        if ends and now - ends[-1] >= _HEALTHY_SECONDS:
            ends.clear()
        ends.append(now)
        return len(ends) <= _AT_MOST
