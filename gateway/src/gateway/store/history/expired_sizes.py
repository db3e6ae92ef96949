"""Finds what is still counted for a user, but has expired, or was never stored."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from gateway.protocol.ids import is_response_id
from gateway.store.clock import redis_now_ms
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import (
    LOG_SUFFIX,
    QUOTA_TOTAL,
    items_key,
    key_of_field,
    quota_key,
    response_key,
    segment_key,
    thread_key,
)

RESERVED = "reserved:"
# A write takes seconds; this reservation belongs to a gateway that died.
_RESERVED_MS = 3_600_000
_FIELDS_AT_ONCE = 1_000


async def find_expired(redis: Redis, user_id: str) -> list[str]:
    """The fields of the user's counts. Raises Unavailable."""
    async with translate_redis_errors():
        counted: Any = await redis.hgetall(quota_key(user_id))
        oldest = await redis_now_ms(redis) - _RESERVED_MS
    fields = {name.decode(): value for name, value in counted.items() if name.decode() != QUOTA_TOTAL}
    reserved = {name: int(value.split()[1]) for name, value in fields.items() if name.startswith(RESERVED)}
    expired = [name for name, reserved_ms in reserved.items() if reserved_ms < oldest]
    names = [name for name in fields if name not in reserved]
    for start in range(0, len(names), _FIELDS_AT_ONCE):
        expired += await _find_missing(redis, user_id, names[start : start + _FIELDS_AT_ONCE])
    return expired


async def _find_missing(redis: Redis, user_id: str, names: Sequence[str]) -> list[str]:
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        for name in names:
            response_id = name.removesuffix(LOG_SUFFIX)
            if name.startswith(("usage:", "once:")):
                pipe.exists(key_of_field(user_id, name))
            elif response_id != name:
                pipe.exists(segment_key(user_id, response_id, 0))
            elif is_response_id(name):
                pipe.exists(response_key(user_id, name))
            else:
                pipe.exists(thread_key(user_id, name), items_key(user_id, name))
            # A turn that was accepted has no events yet.
            pipe.hexists(response_key(user_id, response_id), "reserved")
        found = await pipe.execute()
    return [name for name, exists, runs in zip(names, found[::2], found[1::2], strict=True) if not exists and not runs]
