from typing import Any

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from dev.process import Process
from gateway.errors import NotFound, Unavailable
from gateway.store.history.conversations import Conversations
from gateway.store.history.transaction import transact
from gateway.store.keys import thread_key
from tests.gateway.items import ALICE


class Meddler:
    """Another client, whose commands come between reading and writing."""

    def __init__(self, port: int, key: str, *, times: int) -> None:
        self._redis = BlockingRedis(port=port)
        self._key = key
        self._times = times

    def delete(self, pipe: Any, _: list[Any]) -> None:
        self._redis.delete(self._key)
        pipe.hset(self._key, "metadata", "{}")

    def count(self, pipe: Any, found: list[Any]) -> int:
        if self._times:
            self._times -= 1
            self._redis.hincrby(self._key, "position", 10)
        pipe.hset(self._key, "position", int(found[0]) + 1)
        return int(found[0])

    def close(self) -> None:
        self._redis.close()


@pytest.fixture
async def conversation_id(redis: Redis) -> str:
    return (await Conversations(redis).create(ALICE, {})).id


async def test_a_conversation_that_is_deleted_between_reading_and_writing_stays_deleted(
    redis: Redis, redis_process: Process, conversation_id: str
) -> None:
    key = thread_key(ALICE, conversation_id)
    meddler = Meddler(redis_process.command.port, key, times=1)
    with pytest.raises(NotFound):
        await transact(redis, ALICE, conversation_id, (), meddler.delete)
    assert not await redis.exists(key)
    meddler.close()


async def test_a_concurrent_write_is_read_again(redis: Redis, redis_process: Process, conversation_id: str) -> None:
    key = thread_key(ALICE, conversation_id)
    meddler = Meddler(redis_process.command.port, key, times=3)
    assert await transact(redis, ALICE, conversation_id, ["position"], meddler.count) == 30
    assert await redis.hget(key, "position") == b"31"
    meddler.close()


async def test_a_conversation_that_changes_all_the_time_is_unavailable(
    redis: Redis, redis_process: Process, conversation_id: str
) -> None:
    key = thread_key(ALICE, conversation_id)
    meddler = Meddler(redis_process.command.port, key, times=1000)
    with pytest.raises(Unavailable):
        await transact(redis, ALICE, conversation_id, ["position"], meddler.count)
    assert int(await redis.hget(key, "position") or 0) % 10 == 0
    meddler.close()
