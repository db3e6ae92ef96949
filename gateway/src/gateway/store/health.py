"""Whether Redis is reachable, stores what it is given, and still has it."""

import asyncio
import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from gateway.errors import StorageFull, StorageLost, Unavailable, UnsafeEvictionPolicy
from gateway.store.errors import translate_redis_errors
from gateway.store.marker import StorageMarker

logger = logging.getLogger(__name__)

_SAFE_POLICY = "noeviction"
_CHECK_SECONDS = 30.0


class StorageHealth:
    def __init__(self, redis: Redis, *, check_seconds: float = _CHECK_SECONDS) -> None:
        self._redis = redis
        self._check_seconds = check_seconds
        self._marker = StorageMarker(redis)
        self._was_lost = False

    async def ping(self) -> None:
        """Raises Unavailable, UnsafeEvictionPolicy for a Redis that evicts conversations when it is full, StorageLost
        for one that has lost them."""
        async with translate_redis_errors():
            await self._redis.ping()  # one that is still loading refuses this, but not the next command
        await self._check_eviction_policy()
        try:
            await self._marker.check()
        except StorageLost:
            self._report_loss()
            raise
        self._was_lost = False

    async def check(self) -> None:
        """When the gateway starts, and from time to time: logs what is wrong. Creates the marker in a new database."""
        try:
            await self.ping()
            await self._marker.advance()
        except StorageFull:  # the marker waits, too
            logger.warning("redis refuses new data: its memory or its disk is full, or it is read-only")
        except StorageLost:
            self._report_loss()
        except UnsafeEvictionPolicy as exc:
            logger.warning("redis may evict conversations", extra={"reason": exc.message})
        except Unavailable:
            logger.warning("redis is not reachable")

    async def watch(self) -> None:
        """Until cancelled. A deployment may never request `/readyz`, and `/healthz` does not depend on Redis."""
        while True:
            await asyncio.sleep(self._check_seconds)
            await self.check()

    async def _check_eviction_policy(self) -> None:
        async with translate_redis_errors():
            try:
                memory: Any = await self._redis.info("memory")
            except NoPermissionError:
                return  # some deployments do not permit it; they are responsible for the policy
        policy = memory.get("maxmemory_policy", _SAFE_POLICY)
        if policy != _SAFE_POLICY:
            raise UnsafeEvictionPolicy(policy)

    def _report_loss(self) -> None:
        """Once for each loss."""
        if not self._was_lost:
            logger.error("redis has lost its data: a marker that the gateway had stored is gone")
        self._was_lost = True
