import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from auth_service.revocations import Revocation

T = TypeVar("T")


class CountingHasher:
    """Fast, and records its operations."""

    def __init__(self, version: str = "v1") -> None:
        self.version = version
        self.operations: list[str] = []

    def hash(self, password: str) -> str:
        self.operations.append("hash")
        return f"{self.version}:{hashlib.sha256(password.encode()).hexdigest()}"

    def verify(self, password_hash: str, password: str) -> bool:
        self.operations.append("verify")
        return password_hash.partition(":")[2] == hashlib.sha256(password.encode()).hexdigest()

    def needs_rehash(self, password_hash: str) -> bool:
        return not password_hash.startswith(self.version)


class PausingHasher(CountingHasher):
    """Delays the result of an operation on request, to let other requests run in between."""

    def __init__(self) -> None:
        super().__init__()
        self._pause_requested: threading.Semaphore = threading.Semaphore(0)
        self._paused = threading.Event()
        self._resume = threading.Event()

    def hash(self, password: str) -> str:
        return self._pause_if_requested(super().hash(password))

    def verify(self, password_hash: str, password: str) -> bool:
        return self._pause_if_requested(super().verify(password_hash, password))

    @asynccontextmanager
    async def paused(self, request: Coroutine[Any, Any, T]) -> AsyncGenerator["asyncio.Task[T]"]:
        """Runs `request` up to the end of its first hash, then the body of the `async with`, then the rest."""
        self._paused.clear()
        self._resume.clear()
        self._pause_requested.release()
        task = asyncio.create_task(request)
        try:
            assert await asyncio.to_thread(self._paused.wait, 60), "the request did not hash anything"
            yield task
        finally:
            self._resume.set()

    def _pause_if_requested(self, result: T) -> T:
        if self._pause_requested.acquire(blocking=False):
            self._paused.set()
            assert self._resume.wait(60), "the body of `paused` waits for the paused request"
        return result


class Clock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class RecordingAnnouncer:
    def __init__(self) -> None:
        self.announced: list[Revocation] = []

    async def announce(self, revocations: Iterable[Revocation]) -> None:
        self.announced.extend(revocations)
