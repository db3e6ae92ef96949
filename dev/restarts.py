"""How often the demo restarts a process that ends."""

_MAX_RESTARTS = 5
_HEALTHY_SECONDS = 60


class Restarts:
    """Each process has its own count; a minute without an exit resets it."""

    def __init__(self) -> None:
        self._exits: dict[str, list[float]] = {}

    def count_exit(self, name: str, now: float) -> bool:
        """Whether the process may be restarted once more. `now` is in seconds on a monotonic clock."""
        exits = self._exits.setdefault(name, [])
        if exits and now - exits[-1] >= _HEALTHY_SECONDS:
            exits.clear()
        exits.append(now)
        return len(exits) <= _MAX_RESTARTS
