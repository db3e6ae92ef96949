"""Reads the log of a turn to take over, and fences it, which makes this gateway the turn's owner.

Redis refuses every entry after the last id a stream can have. So the first gateway to add that id owns the turn: the
earlier owner, if it was only paused, cannot add anything any more, and the fence of a second one is refused.
"""

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.store.errors import translate_redis_errors
from gateway.store.keys import segment_key
from gateway.turn.log_entry import FENCE_FIELD, FENCE_ID, StoredEntry, fenced_by, is_fence_rejection, up_to_hole
from gateway.turn.records import ReplayedEvents

_ABANDONED_SECONDS = 86_400


class Segments:
    """Every method raises Unavailable when Redis does not reply."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, user_id: str, response_id: str) -> ReplayedEvents:
        """The entries of all segments, without the fences and without what Redis has behind a hole."""
        entries: list[StoredEntry] = []
        segment, owner = 0, None
        while True:
            async with translate_redis_errors():
                found: Any = await self._redis.xrange(segment_key(user_id, response_id, segment))
            fenced = fenced_by(found[-1][1]) if found else None
            first_number = len(entries)
            entries += up_to_hole(found if fenced is None else found[:-1], first_number)
            if fenced is None:
                return ReplayedEvents(entries, segment, owner, first_number)
            segment, owner = segment + 1, fenced

    async def is_fenced(self, user_id: str, response_id: str, segment: int) -> bool:
        async with translate_redis_errors():
            newest: Any = await self._redis.xrevrange(segment_key(user_id, response_id, segment), count=1)
        return bool(newest) and fenced_by(newest[0][1]) is not None

    async def fence(self, user_id: str, response_id: str, segment: int, gateway_id: str) -> bool:
        """False when another gateway was faster."""
        key = segment_key(user_id, response_id, segment)
        async with translate_redis_errors():
            try:
                async with self._redis.pipeline(transaction=True) as pipe:
                    pipe.xadd(key, {FENCE_FIELD: gateway_id}, id=FENCE_ID)
                    pipe.expire(key, _ABANDONED_SECONDS)
                    await pipe.execute()
            except ResponseError as exc:
                if not is_fence_rejection(exc):
                    raise
                return False
        return True
