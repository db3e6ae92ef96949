"""Measures, once, what an earlier version has stored for a user: it counted some of the keys only."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.protocol.ids import is_response_id
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import (
    QUOTA_TOTAL,
    earlier_sizes_key,
    index_key,
    items_key,
    quota_key,
    response_key,
    responses_key,
    thread_key,
)

_OWNER = re.compile(rb":(?:conversation|thread|response):([a-z]+_[A-Za-z0-9-]+)(?::|$)")
_IDS_AT_ONCE = 300
_MAX_ATTEMPTS = 5


async def measure_earlier_sizes(redis: Redis, user_id: str) -> int:
    """Returns the user's total. Repeated while gateways of the earlier version still count. Raises Unavailable."""
    earlier, key = earlier_sizes_key(user_id), quota_key(user_id)
    async with translate_redis_errors(), redis.pipeline(transaction=True) as pipe:
        for _ in range(_MAX_ATTEMPTS):
            await pipe.watch(earlier, key)
            counted: Any = await pipe.hgetall(key)
            names: Any = await pipe.hkeys(earlier)
            conversations: Any = await redis.zrange(index_key(user_id), 0, -1)
            ids = {match[1] for name in names if (match := _OWNER.search(name))} | set(conversations)
            sizes = await _measure(redis, user_id, sorted(one.decode() for one in ids))
            kept = {
                name: value
                for name, value in counted.items()
                if name.decode() != QUOTA_TOTAL and name.decode() not in sizes
            }
            total = sum(sizes.values()) + sum(int(value.split()[0]) for value in kept.values())
            pipe.multi()  # type: ignore[no-untyped-call]
            measured: Any = {**sizes, QUOTA_TOTAL: total}
            pipe.hset(key, mapping=measured)
            pipe.delete(earlier)
            try:
                await pipe.execute()
            except WatchError:
                continue
            return total
        return int(await redis.hget(key, QUOTA_TOTAL) or 0)  # the next request measures


async def _measure(redis: Redis, user_id: str, ids: Sequence[str]) -> dict[str, int]:
    """All elements of each key: a sample could be chosen by its user."""
    sizes: dict[str, int] = {}
    for start in range(0, len(ids), _IDS_AT_ONCE):
        some = [(one, key) for one in ids[start : start + _IDS_AT_ONCE] for key in _keys_of(user_id, one)]
        async with redis.pipeline(transaction=False) as pipe:
            for _, key in some:
                pipe.memory_usage(key, samples=0)
            found = await pipe.execute()
        for (one, _), size in zip(some, found, strict=True):
            if size:
                sizes[one] = sizes.get(one, 0) + int(size)
    return sizes


def _keys_of(user_id: str, one: str) -> Iterable[str]:
    """Without the log, which the earlier version did not count and which soon expires."""
    if is_response_id(one):
        return (response_key(user_id, one),)
    return thread_key(user_id, one), items_key(user_id, one), responses_key(user_id, one)
