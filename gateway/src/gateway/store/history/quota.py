"""How much each user stores, and the limit for each: all users share one Redis.

Bytes are counted as they are added. What expires, or is deleted item by item, stays counted until its user reaches the
limit; only then all keys are measured again. So the count costs nothing to read, and nobody with room is refused.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from gateway.errors import StorageFull, StorageLimit
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import sizes_key

MAX_STORED_BYTES = 64 * 2**20
# A user at the limit tries again and again.
_MEASURE_INTERVAL_SECONDS = 30.0
_TOTAL = "*"


class StorageQuota:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, max_bytes: int = MAX_STORED_BYTES) -> None:
        self._redis = redis
        self._max_bytes = max_bytes
        self._measured_at: dict[str, float] = {}

    async def check(self, user_id: str) -> None:
        """Before anything is added. Raises StorageLimit."""
        async with translate_redis_errors():
            stored: Any = await self._redis.hget(sizes_key(user_id), _TOTAL)
        if int(stored or 0) < self._max_bytes:
            return
        if self._is_measurement_due(user_id):
            stored = await self._measure(user_id)
        if int(stored) >= self._max_bytes:
            raise StorageLimit("MB of stored conversations", self._max_bytes >> 20, "delete some of them")

    async def refund(self, user_id: str, keys: Iterable[str]) -> None:
        """After the keys were deleted. A Redis that is full keeps the old total, which is too high until the next
        measurement."""
        names, key = list(keys), sizes_key(user_id)
        if not names:
            return
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, names)
            for name in names:
                pipe.hdel(key, name)
            sizes, *deleted = await pipe.execute()
        freed = sum(int(size) for size, found in zip(sizes, deleted, strict=True) if size is not None and found)
        with suppress(StorageFull):
            async with translate_redis_errors():
                await self._redis.hincrby(key, _TOTAL, -freed)

    def _is_measurement_due(self, user_id: str) -> bool:
        now = time.monotonic()
        self._measured_at = {user: at for user, at in self._measured_at.items() if now - at < _MEASURE_INTERVAL_SECONDS}
        if user_id in self._measured_at:
            return False
        self._measured_at[user_id] = now
        return True

    async def _measure(self, user_id: str) -> int:
        key = sizes_key(user_id)
        async with translate_redis_errors():
            names: list[Any] = [name for name in await self._redis.hkeys(key) if name != _TOTAL.encode()]
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.memory_usage(name)
                found = await pipe.execute() if names else []
            sizes = {name: int(size) for name, size in zip(names, found, strict=True) if size is not None}
            gone, total = set(names) - sizes.keys(), sum(sizes.values())
            async with self._redis.pipeline(transaction=False) as pipe:
                if gone:
                    pipe.hdel(key, *gone)
                pipe.hset(key, mapping={**sizes, _TOTAL.encode(): total})
                await pipe.execute()
        return total


def charge(pipe: Any, user_id: str, key: str, added: Iterable[bytes | str]) -> None:
    """In the transaction that adds it to `key`."""
    size = sum(map(len, added))
    if size:
        pipe.hincrby(sizes_key(user_id), key, size)
        pipe.hincrby(sizes_key(user_id), _TOTAL, size)


async def stored_sizes(redis: Redis, user_id: str, keys: Sequence[str]) -> list[int | None]:
    """The bytes of each key, at least; None for one that was not counted."""
    if not keys:
        return []
    async with translate_redis_errors():
        sizes: Any = await redis.hmget(sizes_key(user_id), keys)
    return [None if size is None else int(size) for size in sizes]
