"""argon2id off the event loop. 71 ms and 19 MiB a hash, so few at a time and few in line."""

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

# A line this long is answered in about a second by each thread; who comes later is better told to come back.
_QUEUE_PER_THREAD: Final = 8


class Hasher(Protocol):
    def hash(self, password: str) -> str: ...
    def verify(self, password_hash: str, password: str) -> bool: ...
    def outdated(self, password_hash: str) -> bool: ...


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

    def outdated(self, password_hash: str) -> bool:
        return self._argon2.check_needs_rehash(password_hash)


class HashingPool:
    """Raises HashingBusy when every thread works and the line is full."""

    def __init__(self, hasher: Hasher, *, threads: int | None = None, queue: int | None = None) -> None:
        threads = threads or os.cpu_count() or 1
        queue = _QUEUE_PER_THREAD * threads if queue is None else queue
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="hashing")
        self._places = threading.BoundedSemaphore(threads + queue)
        # Verified against when there is no such user: the same work as for one who exists.
        self._nobody = hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        return await self._run(self._hasher.hash, password)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """False, after the same work, for None (there is no such user) and for an empty hash (there is no password)."""
        matches = await self._run(self._hasher.verify, password_hash or self._nobody, password)
        return matches and bool(password_hash)

    def outdated(self, password_hash: str) -> bool:
        return self._hasher.outdated(password_hash)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if not self._places.acquire(blocking=False):
            raise HashingBusy
        future: Future[T] = self._threads.submit(function, *args, **kwargs)
        # By the thread and not by who waits: a client that hangs up does not free the CPU.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)
