import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from auth_service.revocations import Revocation

T = TypeVar("T")


class CountingHasher:
    """Takes no time, and remembers what it was asked to do."""

    def __init__(self, version: str = "v1") -> None:
        self.version = version
        self.operations: list[str] = []

    def hash(self, password: str) -> str:
        self.operations.append("hash")
        return f"{self.version}:{hashlib.sha256(password.encode()).hexdigest()}"

    def verify(self, password_hash: str, password: str) -> bool:
        self.operations.append("verify")
        return password_hash.partition(":")[2] == hashlib.sha256(password.encode()).hexdigest()

    def outdated(self, password_hash: str) -> bool:
        return not password_hash.startswith(self.version)


class LateHasher(CountingHasher):
    """Of what it does next, when told so, the result comes late: the world may change meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self._late: threading.Semaphore = threading.Semaphore(0)
        self._begun = threading.Event()
        self._go_on = threading.Event()

    def hash(self, password: str) -> str:
        return self._later(super().hash(password))

    def verify(self, password_hash: str, password: str) -> bool:
        return self._later(super().verify(password_hash, password))

    @asynccontextmanager
    async def late(self, request: Coroutine[Any, Any, T]) -> AsyncGenerator["asyncio.Task[T]"]:
        """`request` has hashed before what is inside, and goes on after it."""
        self._begun.clear()
        self._go_on.clear()
        self._late.release()
        task = asyncio.create_task(request)
        try:
            assert await asyncio.to_thread(self._begun.wait, 60), "the request has hashed nothing"
            yield task
        finally:
            self._go_on.set()

    def _later(self, result: T) -> T:
        if self._late.acquire(blocking=False):
            self._begun.set()
            assert self._go_on.wait(60), "what was to happen meanwhile waits for this"
        return result


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Listener:
    """Hears what is announced."""

    def __init__(self) -> None:
        self.heard: list[Revocation] = []

    async def announce(self, revocations: Iterable[Revocation]) -> None:
        self.heard.extend(revocations)
