"""Erases all data of a deleted user: conversations, responses, events, usage.

A running answer still writes, and for some seconds a gateway that missed the revocation still accepts the user. So a
user is erased again and again until nothing new appears; only then is the erasure confirmed to the auth-service.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import Redis

from gateway.errors import Unavailable
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import GATEWAYS_KEY, turns_key, user_pattern

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 60.0
# Twice as long as gateway.identity.identity may still accept a deleted user.
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
        interval_seconds: float = _INTERVAL_SECONDS,
        settled_seconds: float = _SETTLED_SECONDS,
    ) -> None:
        self._redis = redis
        self._deletions = deletions
        self._interval_seconds = interval_seconds
        self._settled_seconds = settled_seconds
        self._first_seen: dict[str, float] = {}
        self._woken = asyncio.Event()

    def run_soon(self) -> None:
        """Does not wait for the interval: a user has just been deleted."""
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. The auth-service lists a user until a gateway confirms the erasure; any gateway may do it,
        and repeat it."""
        while True:
            try:
                await self._erase_all(await self._deletions.deletions())
            except Unavailable as exc:
                logger.info("erasure waits", extra={"for": exc.dependency})
            except Exception:
                logger.exception("erasure failed")
            pause = self._settled_seconds if self._first_seen else self._interval_seconds
            try:
                await asyncio.wait_for(self._woken.wait(), pause)
            except TimeoutError:
                continue
            self._woken.clear()

    async def _erase_all(self, user_ids: Sequence[str]) -> None:
        now = time.monotonic()
        self._first_seen = {user_id: self._first_seen.get(user_id, now) for user_id in user_ids}
        # Read first: what an answer writes before it leaves the list is found below.
        running = await self._users_with_a_turn() if user_ids else set()
        for user_id in user_ids:
            is_quiet = not await self._erase(user_id) and user_id not in running
            if is_quiet and now - self._first_seen[user_id] >= self._settled_seconds:
                await self._deletions.erased(user_id)
                del self._first_seen[user_id]

    async def _erase(self, user_id: str) -> int:
        """Returns the number of keys there were."""
        async with translate_redis_errors():
            keys = [key async for key in self._redis.scan_iter(match=user_pattern(user_id), count=_KEYS_AT_ONCE)]
            for key in keys:
                await self._redis.unlink(key)
        if keys:
            logger.info("user data erased", extra={"user": user_id, "keys": len(keys)})
        return len(keys)

    async def _users_with_a_turn(self) -> set[str]:
        async with translate_redis_errors():
            gateways: Any = await self._redis.smembers(GATEWAYS_KEY)
            lists: Any = [await self._redis.smembers(turns_key(gateway_id.decode())) for gateway_id in gateways]
        return {turn.decode().partition(" ")[0] for turns in lists for turn in turns}
