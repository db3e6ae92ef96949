import hashlib
from collections.abc import Iterable

from auth_service.revocations import Revocation


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
