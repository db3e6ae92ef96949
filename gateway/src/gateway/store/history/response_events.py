"""Deletes the events of responses before they expire: they contain the text of the answer."""

from collections.abc import Sequence

from redis.asyncio import Redis

from gateway.store.errors import translate_redis_errors
from gateway.store.history.quota import StorageQuota
from gateway.store.keys import LOG_SUFFIX, response_key, segment_keys


async def delete_events(redis: Redis, quota: StorageQuota, user_id: str, response_ids: Sequence[str]) -> None:
    """Of responses that have ended, before their records are deleted, which lead to them. Raises Unavailable.

    Not in a transaction: a full Redis refuses even to delete in one.
    """
    async with translate_redis_errors(), redis.pipeline(transaction=False) as pipe:
        for response_id in response_ids:
            pipe.hget(response_key(user_id, response_id), "segment")
        segments = await pipe.execute()
        for response_id, segment in zip(response_ids, segments, strict=True):
            pipe.delete(*segment_keys(user_id, response_id, int(segment or 0)))
        await pipe.execute()
    await quota.refund(user_id, [response_id + LOG_SUFFIX for response_id in response_ids])
