"""Redis as a place to keep things: whether it is there, and whether it keeps what it is given."""

import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from gateway.errors import Unavailable, UnsafeEvictionPolicy
from gateway.store.errors import translate_redis_errors

logger = logging.getLogger(__name__)

_KEEPS = "noeviction"


class StorageHealth:
    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def ping(self) -> None:
        """Raises Unavailable, or UnsafeEvictionPolicy for a Redis that evicts conversations when it is full."""
        async with translate_redis_errors():
            await self._redis.ping()  # one that is still loading refuses this, and nothing of the next
            try:
                memory: Any = await self._redis.info("memory")
            except NoPermissionError:
                return  # some deployments do not let us ask; theirs to know
        policy = memory.get("maxmemory_policy", _KEEPS)
        if policy != _KEEPS:
            raise UnsafeEvictionPolicy(policy)

    async def check(self) -> None:
        """Before anything is kept. A Redis that is not there yet is waited for by whoever asks whether we are ready."""
        try:
            await self.ping()
        except Unavailable:
            logger.warning("redis is not reachable yet")
