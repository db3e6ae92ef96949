from redis.asyncio import Redis

from gateway.store.history.quota import StorageQuota
from gateway.store.history.response_events import delete_events
from gateway.store.keys import QUOTA_TOTAL, quota_key, response_key, segment_keys

USER = "user_1"


async def add_events(redis: Redis, response_id: str, segment: int) -> list[str]:
    """Of a response whose log ends in that segment. Returns the keys."""
    await redis.hset(response_key(USER, response_id), mapping={"segment": segment})
    keys = segment_keys(USER, response_id, segment)
    for key in keys:
        await redis.xadd(key, {"e": "a secret"})
    await redis.hset(quota_key(USER), f"{response_id}:log", 500)
    await redis.hincrby(quota_key(USER), QUOTA_TOTAL, 500)
    return keys


async def test_all_segments_of_the_given_responses_are_deleted_and_refunded(redis: Redis) -> None:
    deleted = await add_events(redis, "resp_1", 0) + await add_events(redis, "resp_2", 2)
    others = await add_events(redis, "resp_3", 1)
    await delete_events(redis, StorageQuota(redis), USER, ["resp_1", "resp_2"])
    assert await redis.exists(*deleted) == 0
    assert await redis.exists(*others) == len(others)
    assert await redis.hgetall(quota_key(USER)) == {b"resp_3:log": b"500", QUOTA_TOTAL.encode(): b"500"}


async def test_a_response_without_a_record_has_nothing_to_delete(redis: Redis) -> None:
    await delete_events(redis, StorageQuota(redis), USER, ["resp_1"])
    assert await redis.keys() == []
