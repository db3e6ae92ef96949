"""argon2id in a bounded thread pool. A hash takes 71 ms and 19 MiB, so concurrency and queue are limited."""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, ParamSpec, Protocol, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from auth_service.errors import HashingBusy

P = ParamSpec("P")
T = TypeVar("T")

# A thread works this queue off in about a second; later requests are rejected with Retry-After.
_QUEUE_PER_THREAD: Final = 8


class Hasher(Protocol):
    def hash(self, password: str) -> str: ...
    def verify(self, password_hash: str, password: str) -> bool: ...
    def needs_rehash(self, password_hash: str) -> bool: ...


class Argon2id:
    """OWASP's minimum. The parameters are part of every hash, so raising them here raises them at the next log-in.

    https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
    """

    def __init__(self, *, memory_kib: int = 19456, passes: int = 2, lanes: int = 1) -> None:
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=lanes, type=Type.ID)

    def hash(self, password: str) -> str:
        return self._argon2.hash(password)

    def verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def needs_rehash(self, password_hash: str) -> bool:
        return self._argon2.check_needs_rehash(password_hash)


class HashingPool:
    """Raises HashingBusy when all threads are busy and the queue is full."""

    def __init__(self, hasher: Hasher, *, threads: int | None = None, queue: int | None = None) -> None:
        threads = threads or os.cpu_count() or 1
        queue = _QUEUE_PER_THREAD * threads if queue is None else queue
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="hashing")
        self._slots = threading.BoundedSemaphore(threads + queue)
        # For users who do not exist, so that verification costs the same.
        self._dummy_hash = hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        return await self._run(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Returns False, at the same cost, for None (unknown user) and for an empty hash (no password)."""
        matches = await self._run(self._hasher.verify, password_hash or self._dummy_hash, password)
        return matches and bool(password_hash)

    def needs_rehash(self, password_hash: str) -> bool:
        return self._hasher.needs_rehash(password_hash)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._slots.acquire(blocking=False):
            raise HashingBusy
        future: Future[T] = self._threads.submit(function, *args, **kwargs)
        # Released by the thread, not by the waiting request: a client that disconnects does not free the CPU.
        future.add_done_callback(lambda _: self._slots.release())
        return await asyncio.wrap_future(future)
