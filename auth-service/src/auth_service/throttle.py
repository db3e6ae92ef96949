"""Delays password guessing per (account, address) and per address, without ever locking an account permanently.

An attacker who shares the owner's address (an office, a proxy that hides its clients) could keep that counter in its
delay. A browser with a device cookie of the account therefore has a counter of its own, (account, device cookie), which
other clients and the address do not affect. Remaining limitation: the owner's first log-in from a new browser is
delayed while somebody guesses from the same address.

Counters are in the memory of one process: n auth-services behind one nginx allow n times as many attempts, and a
restart resets them.
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

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ThrottleLimits:
    free_attempts: int = 5
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 300.0
    reset_after_seconds: float = 900.0
    max_waiting: int = 16
    # At 30 hashes per second it takes 330 s to evict a record from a full table: longer than the longest delay.
    max_records: int = 10_000

    def delay_after(self, failures: int) -> float:
        if failures < self.free_attempts:
            return 0.0
        doublings = min(failures - self.free_attempts, 32)
        return min(self.initial_delay_seconds * 2.0**doublings, self.max_delay_seconds)


# An address that fails for many accounts is an attacker or an office: more free attempts and shorter delays. Success
# does not reset this counter, since an attacker may have an account of their own.
ADDRESS_LIMITS: Final = ThrottleLimits(free_attempts=50, max_delay_seconds=30.0)


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last_at: float


class _Queue:
    """Serializes the attempts of one key: a hundred concurrent attempts count like a hundred sequential ones."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.length = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    fail: Callable[[], None]
    succeed: Callable[[], None]


class Throttle:
    def __init__(
        self,
        limits: ThrottleLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        address_limits: ThrottleLimits = ADDRESS_LIMITS,
    ) -> None:
        self._limits = limits or ThrottleLimits()
        self._account_failures = _FailureTable(self._limits, clock)
        self._device_failures = _FailureTable(self._limits, clock)
        self._address_failures = _FailureTable(address_limits, clock)
        self._queues: WeakValueDictionary[Key, _Queue] = WeakValueDictionary()

    @asynccontextmanager
    async def attempt(self, account: str, address: str, device_cookie: str | None = None) -> AsyncGenerator[Attempt]:
        """`device_cookie` is the digest of a device cookie of the account.

        Raises TooManyAttempts. An attempt that neither fails nor succeeds (no free hashing thread) is not counted.
        """
        network = None if device_cookie else _network(address)
        failures = self._device_failures if device_cookie else self._account_failures
        key = (account, device_cookie or network or "")
        queue = self._queues.setdefault(key, _Queue())
        if queue.length >= self._limits.max_waiting:
            raise TooManyAttempts(1)
        queue.length += 1
        try:
            async with queue.lock:
                if network:
                    self._address_failures.enforce_delay(("", network))
                failures.enforce_delay(key)
                yield Attempt(fail=lambda: self._record(failures, key, network), succeed=lambda: failures.reset(key))
        finally:
            queue.length -= 1

    def _record(self, failures: "_FailureTable", key: Key, network: str | None) -> None:
        failures.record(key)
        if network:
            self._address_failures.record(("", network))


class _FailureTable:
    def __init__(self, limits: ThrottleLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._failures: OrderedDict[Key, _Failures] = OrderedDict()

    def enforce_delay(self, key: Key) -> None:
        """Raises TooManyAttempts."""
        failures = self._failures.get(key)
        if failures is None:
            return
        elapsed = self._clock() - failures.last_at
        if elapsed >= self._limits.reset_after_seconds:
            self.reset(key)
        elif (remaining := self._limits.delay_after(failures.count) - elapsed) > 0:
            raise TooManyAttempts(math.ceil(remaining))

    def record(self, key: Key) -> None:
        before = self._failures.pop(key, None)
        self._failures[key] = _Failures(count=before.count + 1 if before else 1, last_at=self._clock())
        if len(self._failures) > self._limits.max_records:
            self._failures.popitem(last=False)

    def reset(self, key: Key) -> None:
        self._failures.pop(key, None)


def _network(address: str) -> str:
    """Returns the /64 network of an IPv6 address, since its owner can choose any of 2^64 addresses in it."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((parsed, 64), strict=False)) if parsed.version == 6 else address
