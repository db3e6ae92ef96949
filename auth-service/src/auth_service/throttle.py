"""Slows guessing down, per (account, address) and per address, and never locks for good.

Whoever guesses from the address of the owner (an office, a proxy that hides everybody) and asks the most often takes
every turn there is. So a browser in which the account's password was right before has a line of its own, (account,
browser), which no stranger's guess and no address touches. What remains: a first log-in from an address that somebody
guesses from at this moment is slowed, as long as that goes on; elsewhere it is not.

It counts in the memory of one process: n auth-services behind one nginx allow n times as much, and a restart forgets.
"""

import asyncio
import ipaddress
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


# One address guesses at many accounts, or is an office: many more are free, nothing but time forgives them (an attacker
# has an account of their own), and the delay stays short.
ADDRESS_LIMITS: Final = Limits(free_attempts=50, longest_delay_seconds=30.0)


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
    def __init__(
        self,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        address_limits: Limits = ADDRESS_LIMITS,
    ) -> None:
        self._limits = limits or Limits()
        self._accounts = _Records(self._limits, clock)
        self._browsers = _Records(self._limits, clock)
        self._addresses = _Records(address_limits, clock)
        self._lines: WeakValueDictionary[Key, _Line] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(self, account: str, address: str, browser: str | None = None) -> AsyncGenerator[Attempt]:
        """`browser` is the digest of one that is known to the account.

        Raises TooManyAttempts. An attempt that ends neither way (no free hashing thread) counts for nothing.
        """
        network = None if browser else _network(address)
        records = self._browsers if browser else self._accounts
        key = (account, browser or network or "")
        line = self._lines.setdefault(key, _Line())
        if line.length >= self._limits.waiting_attempts:
            raise TooManyAttempts(1)
        line.length += 1
        try:
            async with line.turn:
                if network:
                    self._addresses.refuse_if_early(("", network))
                records.refuse_if_early(key)
                yield Attempt(failed=lambda: self._count(records, key, network), succeeded=lambda: records.forget(key))
        finally:
            line.length -= 1

    def _count(self, records: "_Records", key: Key, network: str | None) -> None:
        records.count(key)
        if network:
            self._addresses.count(("", network))


class _Records:
    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()

    def refuse_if_early(self, key: Key) -> None:
        failures = self._failures.get(key)
        if failures is None:
            return
        waited = self._clock() - failures.last_at
        if waited >= self._limits.forgotten_after_seconds:
            self.forget(key)
        elif (left := self._limits.delay_after(failures.count) - waited) > 0:
            raise TooManyAttempts(math.ceil(left))

    def count(self, key: Key) -> None:
        before = self._failures.pop(key, None)
        self._failures[key] = _Failures(count=before.count + 1 if before else 1, last_at=self._clock())
        if len(self._failures) > _MOST_RECORDS:
            self._failures.popitem(last=False)

    def forget(self, key: Key) -> None:
        self._failures.pop(key, None)


def _network(address: str) -> str:
    """Of an IPv6 address the 64 bits its owner cannot choose: who has one has 2^64 of them."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((found, 64), strict=False)) if found.version == 6 else address
