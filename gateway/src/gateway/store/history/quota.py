"""How much each user stores, and the limit for each: all users share one Redis.

Everything that a request adds is reserved before and settled in the transaction that adds it: the reply to the
reservation decides, so any number of requests at once, through any number of gateways, stay within the limit. What is
deleted is refunded. What expires stays counted until its user reaches the limit; only then it is looked for. The total
is the sum of all other fields, after every single command.
"""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import WatchError

from gateway.errors import StorageFull, StorageLimit, Unavailable
from gateway.store.clock import RedisClock
from gateway.store.errors import translate_redis_errors
from gateway.store.history.earlier_sizes import measure_earlier_sizes
from gateway.store.history.expired_sizes import RESERVED, find_expired
from gateway.store.keys import QUOTA_TOTAL, earlier_sizes_key, quota_key
from gateway.turn.records import Reservation

MAX_STORED_BYTES = 64 * 2**20
# A user at the limit tries again and again.
_LOOK_INTERVAL_SECONDS = 30.0
# Of a user whose other requests store at the same time.
_MAX_ATTEMPTS = 50


class StorageQuota:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis, *, max_bytes: int = MAX_STORED_BYTES) -> None:
        self._redis = redis
        self._max_bytes = max_bytes
        self._clock = RedisClock(redis)
        self._looked_at: dict[str, float] = {}

    async def reserve(self, user_id: str, size: int) -> Reservation:
        """To be settled or released. Raises StorageLimit, but not for nothing: what shrinks is always allowed."""
        reservation = Reservation(user_id, size, secrets.token_hex(8))
        if await self._add(reservation):
            return reservation
        await self.release(reservation)
        if self._is_look_due(user_id):
            await self.refund(user_id, await find_expired(self._redis, user_id))
            if await self._add(reservation):
                return reservation
            await self.release(reservation)
        raise StorageLimit("MB of stored conversations", self._max_bytes >> 20, "delete some of them")

    async def release(self, reservation: Reservation) -> None:
        """Nothing was added. Idempotent."""
        key = quota_key(reservation.user_id)
        with suppress(StorageFull):
            async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
                pipe.hdel(key, RESERVED + reservation.token)
                pipe.hincrby(key, QUOTA_TOTAL, -reservation.size)
                was_reserved, _ = await pipe.execute()
                if not was_reserved:  # released before, or settled
                    await self._redis.hincrby(key, QUOTA_TOTAL, reservation.size)

    @asynccontextmanager
    async def reserved(self, user_id: str, size: int) -> AsyncIterator[Reservation]:
        """Released unless the block settles it. Raises StorageLimit."""
        reservation = await self.reserve(user_id, size)
        try:
            yield reservation
        except BaseException:
            with suppress(Unavailable):
                await self.release(reservation)
            raise

    async def refund(self, user_id: str, fields: Iterable[str]) -> None:
        """All that is counted there, after it was deleted. While Redis is full it stays counted until it is looked
        for."""
        await self._take(user_id, dict.fromkeys(fields))

    async def reduce(self, user_id: str, field: str, size: int) -> None:
        """A part of what is counted there. Nothing if the whole was refunded meanwhile."""
        await self._take(user_id, {field: size})

    async def _add(self, reservation: Reservation) -> bool:
        """Whether there was room. It is counted in either case."""
        user_id, key = reservation.user_id, quota_key(reservation.user_id)
        async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
            pipe.hincrby(key, QUOTA_TOTAL, reservation.size)
            pipe.hset(key, RESERVED + reservation.token, f"{reservation.size} {await self._clock.now_ms()}")
            pipe.exists(earlier_sizes_key(user_id))
            total, _, has_earlier = await pipe.execute()
        if has_earlier:
            total = await measure_earlier_sizes(self._redis, user_id)
        return int(total) <= self._max_bytes or not reservation.size

    async def _take(self, user_id: str, parts: Mapping[str, int | None]) -> None:
        """None for the whole of a field."""
        key = quota_key(user_id)
        if not parts:
            return
        with suppress(StorageFull):
            async with translate_redis_errors(), self._redis.pipeline(transaction=True) as pipe:
                for attempt in range(_MAX_ATTEMPTS):
                    # Milliseconds, as many as there were conflicts: otherwise others always come between.
                    await asyncio.sleep(random.uniform(0, attempt) / 1000)  # noqa: S311 - no secret
                    await pipe.watch(key)
                    found: Any = await pipe.hmget(key, list(parts))
                    pipe.multi()  # type: ignore[no-untyped-call]
                    taken = 0
                    for (field, part), stored in zip(parts.items(), found, strict=True):
                        taken += _take_field(pipe, key, field, part, stored)
                    if taken:
                        pipe.hincrby(key, QUOTA_TOTAL, -taken)
                    with suppress(WatchError):
                        await pipe.execute()
                        return

    def _is_look_due(self, user_id: str) -> bool:
        now = time.monotonic()
        self._looked_at = {user: at for user, at in self._looked_at.items() if now - at < _LOOK_INTERVAL_SECONDS}
        if user_id in self._looked_at:
            return False
        self._looked_at[user_id] = now
        return True


def settle(pipe: Any, user_id: str, sizes: Mapping[str, int], reservation: Reservation | None = None) -> None:
    """In the transaction that adds, or replaces, what has these sizes."""
    key, total = quota_key(user_id), sum(sizes.values())
    for field, size in sizes.items():
        if size:
            pipe.hincrby(key, field, size)
    if reservation is not None:
        pipe.hdel(key, RESERVED + reservation.token)
        total -= reservation.size
    pipe.hincrby(key, QUOTA_TOTAL, total)


def _take_field(pipe: Any, key: str, field: str, part: int | None, stored: bytes | None) -> int:
    """Returns what is taken."""
    if stored is None:
        return 0
    size = int(stored.split()[0])
    if part is None or part >= size:
        pipe.hdel(key, field)
        return size
    pipe.hincrby(key, field, -part)
    return part


async def stored_sizes(redis: Redis, user_id: str, thread_ids: Sequence[str]) -> list[int | None]:
    """The bytes of each thread, at least; None for one that was not counted."""
    if not thread_ids:
        return []
    async with translate_redis_errors():
        sizes: Any = await redis.hmget(quota_key(user_id), thread_ids)
    return [None if size is None else int(size) for size in sizes]
