"""Everything of a deleted user goes: conversations, responses, events, usage."""

import asyncio
import logging
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.errors import Unavailable

logger = logging.getLogger(__name__)

_EVERY_SECONDS = 60.0
_KEYS_AT_ONCE = 500


class Deletions(Protocol):
    async def deletions(self) -> list[str]: ...
    async def erased(self, user_id: str) -> None: ...


class Erasure:
    def __init__(self, redis: Redis, deletions: Deletions) -> None:
        self._redis = redis
        self._deletions = deletions
        self._now = asyncio.Event()

    def look(self) -> None:
        """At once: somebody has just been deleted."""
        self._now.set()

    async def run(self) -> None:
        """Until cancelled. The auth-service names a user until we say that nothing is left: any gateway may do it, and
        do it again."""
        while True:
            try:
                for user_id in await self._deletions.deletions():
                    await self._erase(user_id)
                    await self._deletions.erased(user_id)
            except Unavailable as exc:
                logger.info("erasing waits", extra={"for": exc.dependency})
            except Exception:
                logger.exception("erasing failed")
            try:
                await asyncio.wait_for(self._now.wait(), _EVERY_SECONDS)
            except TimeoutError:
                continue
            self._now.clear()

    async def _erase(self, user_id: str) -> None:
        """Ids are ours, so none is a pattern."""
        try:
            async for key in self._redis.scan_iter(match=f"parley:{{{user_id}}}:*", count=_KEYS_AT_ONCE):
                await self._redis.unlink(key)
        except RedisError as exc:
            raise Unavailable("redis") from exc
        logger.info("erased", extra={"user": user_id})
