"""How many of one kind a user may have at once on one gateway: answers that run, connections, requests."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.errors import TooManyRequests


class ConcurrencyLimit:
    def __init__(self, per_user: int, refusal: str) -> None:
        """`refusal` says what there are already `per_user` of, and what to do about it."""
        self._per_user = per_user
        self._refusal = f"{per_user} {refusal}"
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, user_id: str) -> Iterator[None]:
        """Raises TooManyRequests."""
        release = self.acquire(user_id)
        try:
            yield
        finally:
            release()

    def acquire(self, user_id: str) -> Callable[[], None]:
        """Returns what releases it, to be called once. Raises TooManyRequests."""
        if self._held[user_id] >= self._per_user:
            raise TooManyRequests(self._refusal)
        self._held[user_id] += 1

        def release() -> None:
            self._held[user_id] -= 1
            if not self._held[user_id]:
                del self._held[user_id]

        return release
