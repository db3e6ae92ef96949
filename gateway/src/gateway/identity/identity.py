"""The users behind credentials: introspection, cached for a few seconds."""

import asyncio
import time
from typing import Protocol

from gateway.errors import Unauthenticated
from gateway.identity.introspection import Credential, User

# A revoked credential may be accepted this long; a busy user costs one introspection per this time.
CACHED_SECONDS = 5.0
_MAX_CACHED = 10_000
# When Redis comes back every open socket is rechecked; requests must not wait behind them.
_MAX_CONCURRENT_RECHECKS = 8


class Introspector(Protocol):
    async def introspect(self, credential: Credential) -> User: ...
    async def ping(self) -> None: ...


class Identity:
    def __init__(self, auth_service: Introspector) -> None:
        self._auth_service = auth_service
        self._cached: dict[bytes, tuple[float, User]] = {}
        self._pending: dict[bytes, asyncio.Task[User]] = {}
        self._rechecks = asyncio.Semaphore(_MAX_CONCURRENT_RECHECKS)

    async def authenticate(self, credential: Credential) -> User:
        """Raises Unauthenticated, TooManyRequests, or Unavailable when the auth-service cannot decide: it fails closed.

        Only positive results are cached, so that a new key works at once. Concurrent callers with the same credential
        (a page that reconnects with twenty tabs) share one introspection, except for a ticket: of eight callers that
        present the same one, exactly one succeeds.
        """
        if credential.is_single_use:
            return await self._auth_service.introspect(credential)
        expires_at, user = self._cached.get(credential.digest(), (0.0, None))
        if user is not None and time.monotonic() < expires_at:
            return user
        return await self._join(credential)

    async def revalidate(self, user: User) -> User:
        """Whether the presented credential is still valid: an open socket outlives a log-out. Raises as
        `authenticate`."""
        return await self.authenticate(Credential("", reference=user.credential))

    async def recheck(self, user: User) -> None:
        """As `revalidate`, but in the background: bypasses the cache, with a limited number at a time."""
        try:
            await self._join(Credential("", reference=user.credential, is_background=True))
        except Unauthenticated:
            self.invalidate(user.id)
            raise

    def invalidate(self, user_id: str) -> None:
        """After a revocation, the next request is introspected again.

        The result of a pending introspection may be older than the revocation, and its user is not known yet: no new
        caller joins any pending one, and none of their results is cached.
        """
        self._cached = {digest: entry for digest, entry in self._cached.items() if entry[1].id != user_id}
        self._pending.clear()

    async def ping(self) -> None:
        """Raises Unavailable."""
        await self._auth_service.ping()

    async def _join(self, credential: Credential) -> User:
        digest = credential.digest()
        task = self._pending.get(digest)
        if task is None:
            task = self._pending[digest] = asyncio.create_task(self._introspect(digest, credential))
            task.add_done_callback(_retrieve_exception)
        return await asyncio.shield(task)

    async def _introspect(self, digest: bytes, credential: Credential) -> User:
        self._cached.pop(digest, None)
        try:
            if credential.is_background:
                async with self._rechecks:
                    return await self._auth_service.introspect(credential)
            user = await self._auth_service.introspect(credential)
            if self._is_current(digest):
                self._cache(digest, user)
            return user
        finally:
            if self._is_current(digest):
                del self._pending[digest]

    def _is_current(self, digest: bytes) -> bool:
        """False after `invalidate`."""
        return self._pending.get(digest) is asyncio.current_task()

    def _cache(self, digest: bytes, user: User) -> None:
        if len(self._cached) >= _MAX_CACHED:
            self._cached.clear()
        self._cached[digest] = (time.monotonic() + CACHED_SECONDS, user)


def _retrieve_exception(task: asyncio.Task[User]) -> None:
    """Its callers may all be gone: asyncio must not log a failure that no one waits for."""
    if not task.cancelled():
        task.exception()
