"""How many sockets one user may hold open on one gateway."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import TooManyRequests


class ConnectionLimit:
    def __init__(self, per_user: int) -> None:
        self._per_user = per_user
        self._open: Counter[str] = Counter()

    @contextmanager
    def acquire(self, user_id: str) -> Iterator[None]:
        """Raises TooManyRequests."""
        if self._open[user_id] >= self._per_user:
            raise TooManyRequests(f"{self._per_user} sockets are already open; close one")
        self._open[user_id] += 1
        try:
            yield
        finally:
            self._open[user_id] -= 1
            if not self._open[user_id]:
                del self._open[user_id]
