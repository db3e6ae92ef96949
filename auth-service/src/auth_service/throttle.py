"""Slows guessing down per (account, address), and never locks: an attacker cannot keep the owner out elsewhere."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from auth_service.errors import TooManyAttempts

# At 30 hashes a second it takes 330 s to push a record out of a full table: no sooner than its longest delay ends.
_MOST_RECORDS: Final = 10_000

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Limits:
    free_attempts: int = 5
    first_delay_seconds: float = 1.0
    longest_delay_seconds: float = 300.0
    forgotten_after_seconds: float = 900.0
    waiting_attempts: int = 16

    def delay_after(self, failures: int) -> float:
        if failures < self.free_attempts:
            return 0.0
        doublings = min(failures - self.free_attempts, 32)
        return min(self.first_delay_seconds * 2.0**doublings, self.longest_delay_seconds)


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last_at: float


class _Line:
    """Attempts of one key go one after the other: a hundred sent at once count like a hundred sent in turn."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.length = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    failed: Callable[[], None]
    succeeded: Callable[[], None]


class Throttle:
    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()
        self._lines: WeakValueDictionary[Key, _Line] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(self, account: str, address: str) -> AsyncGenerator[Attempt]:
        """Raises TooManyAttempts. An attempt that ends neither way (no free hashing thread) counts for nothing."""
        key = (account, address)
        line = self._lines.setdefault(key, _Line())
        if line.length >= self._limits.waiting_attempts:
            raise TooManyAttempts(1)
        line.length += 1
        try:
            async with line.turn:
                self._refuse_if_early(key)
                yield Attempt(failed=lambda: self._count(key), succeeded=lambda: self._forget(key))
        finally:
            line.length -= 1

    def _refuse_if_early(self, key: Key) -> None:
        failures = self._failures.get(key)
        if failures is None:
            return
        waited = self._clock() - failures.last_at
        if waited >= self._limits.forgotten_after_seconds:
            self._forget(key)
        elif (left := self._limits.delay_after(failures.count) - waited) > 0:
            raise TooManyAttempts(math.ceil(left))

    def _count(self, key: Key) -> None:
        before = self._failures.pop(key, None)
        self._failures[key] = _Failures(count=before.count + 1 if before else 1, last_at=self._clock())
        if len(self._failures) > _MOST_RECORDS:
            self._failures.popitem(last=False)

    def _forget(self, key: Key) -> None:
        self._failures.pop(key, None)
