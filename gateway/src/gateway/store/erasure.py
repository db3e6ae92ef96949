"""Everything of a deleted user goes: conversations, responses, events, usage.

An answer that runs still writes, and for some seconds a gateway that missed the word still lets the user in. So a user
is erased until nothing comes any more, and only then the auth-service hears that it is done.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import Redis

from gateway.errors import Unavailable
from gateway.store.errors import translated

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0
# Twice as long as gateway.identity.identity takes a deleted user for one who is there.
_SETTLED_SECONDS = 10.0
_KEYS_AT_ONCE = 500


class Deletions(Protocol):
    async def deletions(self) -> list[str]: ...
    async def erased(self, user_id: str) -> None: ...


class Erasure:
    def __init__(
        self,
        redis: Redis,
        deletions: Deletions,
        *,
        every_seconds: float = _EVERY_SECONDS,
        settled_seconds: float = _SETTLED_SECONDS,
    ) -> None:
        self._redis = redis
        self._deletions = deletions
        self._every_seconds = every_seconds
        self._settled_seconds = settled_seconds
        self._first_seen: dict[str, float] = {}
        self._now = asyncio.Event()

    def look(self) -> None:
        """At once: somebody has just been deleted."""
        self._now.set()

    async def run(self) -> None:
        """Until cancelled. The auth-service names a user until we say that nothing is left: any gateway may do it, and
        do it again."""
        while True:
            try:
                await self._erase_all(await self._deletions.deletions())
            except Unavailable as exc:
                logger.info("erasing waits", extra={"for": exc.dependency})
            except Exception:
                logger.exception("erasing failed")
            pause = self._settled_seconds if self._first_seen else self._every_seconds
            try:
                await asyncio.wait_for(self._now.wait(), pause)
            except TimeoutError:
                continue
            self._now.clear()

    async def _erase_all(self, user_ids: Sequence[str]) -> None:
        now = time.monotonic()
        self._first_seen = {user_id: self._first_seen.get(user_id, now) for user_id in user_ids}
        # First: whatever an answer wrote before it was off the list is found.
        running = await self._users_with_a_turn() if user_ids else set()
        for user_id in user_ids:
            quiet = not await self._erase(user_id) and user_id not in running
            if quiet and now - self._first_seen[user_id] >= self._settled_seconds:
                await self._deletions.erased(user_id)
                del self._first_seen[user_id]

    async def _erase(self, user_id: str) -> int:
        """How many keys there were. Ids are ours, so none is a pattern."""
        async with translated():
            keys = [key async for key in self._redis.scan_iter(match=f"parley:{{{user_id}}}:*", count=_KEYS_AT_ONCE)]
            for key in keys:
                await self._redis.unlink(key)
        if keys:
            logger.info("erased", extra={"user": user_id, "keys": len(keys)})
        return len(keys)

    async def _users_with_a_turn(self) -> set[str]:
        """By the lists of gateway.store.leases."""
        async with translated():
            gateways: Any = await self._redis.smembers("parley:gateways")
            lists: Any = [await self._redis.smembers(f"parley:gateway:{one.decode()}:turns") for one in gateways]
        return {turn.decode().partition(" ")[0] for turns in lists for turn in turns}
