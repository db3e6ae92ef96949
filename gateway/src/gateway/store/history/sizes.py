"""How much each user keeps, and the most anybody may: Redis is for all.

    parley:{USER}:sizes    hash: bytes by key, and of all of them together in `*`

Bytes are counted as they are added. What expires, or goes one item at a time, stays counted until its owner is at the
limit; only then everything is measured anew. So the count costs nothing to read, and refuses nobody who has room.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from gateway.errors import StorageFull, StorageLimit
from gateway.store.errors import translated

STORED_BYTES = 64 * 2**20
# Whoever has no room left asks again and again.
_MEASURED_AGAIN_SECONDS = 30.0
_ALL = "*"


class StorageQuota:
    """Every method raises Unavailable when Redis does not answer."""

    def __init__(self, redis: Redis, *, bytes_at_most: int = STORED_BYTES) -> None:
        self._redis = redis
        self._bytes_at_most = bytes_at_most
        self._measured: dict[str, float] = {}

    async def check(self, user_id: str) -> None:
        """Before anything is added. Raises StorageLimit."""
        async with translated():
            kept: Any = await self._redis.hget(_key(user_id), _ALL)
        if int(kept or 0) < self._bytes_at_most:
            return
        now = time.monotonic()
        if now - self._measured.get(user_id, -_MEASURED_AGAIN_SECONDS) >= _MEASURED_AGAIN_SECONDS:
            self._measured = {user: at for user, at in self._measured.items() if now - at < _MEASURED_AGAIN_SECONDS}
            self._measured[user_id] = now
            kept = await self._measure(user_id)
        if int(kept) >= self._bytes_at_most:
            raise StorageLimit("MB of stored conversations", self._bytes_at_most >> 20, "delete some of them")

    async def forget(self, user_id: str, keys: Iterable[str]) -> None:
        """They were deleted. A Redis that is full keeps the old count; then it is too high until it is measured."""
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            names = list(keys)
            if not names:
                return
            pipe.hmget(_key(user_id), names)
            for name in names:
                pipe.hdel(_key(user_id), name)
            sizes, *gone = await pipe.execute()
        freed = sum(int(size) for size, there in zip(sizes, gone, strict=True) if size is not None and there)
        with suppress(StorageFull):
            async with translated():
                await self._redis.hincrby(_key(user_id), _ALL, -freed)

    async def _measure(self, user_id: str) -> int:
        async with translated():
            names: list[Any] = [name for name in await self._redis.hkeys(_key(user_id)) if name != _ALL.encode()]
            async with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.memory_usage(name)
                found = await pipe.execute() if names else []
            sizes = {name: int(size) for name, size in zip(names, found, strict=True) if size is not None}
            gone, whole = set(names) - sizes.keys(), sum(sizes.values())
            async with self._redis.pipeline(transaction=False) as pipe:
                if gone:
                    pipe.hdel(_key(user_id), *gone)
                pipe.hset(_key(user_id), mapping={**sizes, _ALL.encode(): whole})
                await pipe.execute()
        return whole


def charge(pipe: Any, user_id: str, key: str, added: Iterable[bytes | str]) -> None:
    """In the transaction that adds it."""
    size = sum(map(len, added))
    if size:
        pipe.hincrby(_key(user_id), key, size)
        pipe.hincrby(_key(user_id), _ALL, size)


def _key(user_id: str) -> str:
    return f"parley:{{{user_id}}}:sizes"
