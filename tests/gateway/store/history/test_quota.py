"""What one user may store: counted as it is added, measured again only at the limit."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.errors import StorageLimit
from gateway.protocol.create import ResponseCreate
from gateway.protocol.input_items import InputMessage
from gateway.store.history.conversations import Conversations
from gateway.store.history.quota import StorageQuota
from gateway.store.history.responses import ResponseStore
from gateway.store.history.turn_store import TurnStore
from tests.gateway.replica import FakeEngine, Replica, replica, text_stream

USER = "user_1"
LIMIT = 200_000
LONG = InputMessage("user", "x" * 50_000)


@pytest.fixture
def quota(redis: Redis) -> StorageQuota:
    return StorageQuota(redis, max_bytes=LIMIT)


@pytest.fixture
def conversations(redis: Redis, quota: StorageQuota) -> Conversations:
    return Conversations(redis, quota)


@pytest.fixture
async def gateway(port: int, quota: StorageQuota) -> AsyncIterator[Replica]:
    class Bounded(TurnStore):
        def __init__(self, redis: Redis, *, retention_seconds: int) -> None:
            super().__init__(redis, retention_seconds=retention_seconds, quota=quota)

    async with replica(port, FakeEngine(*text_stream("fine")), store=Bounded) as found:
        yield found


async def counted(redis: Redis) -> int:
    return int(await redis.hget(f"parley:{{{USER}}}:sizes", "*") or 0)


async def filled(conversations: Conversations) -> list[str]:
    """The conversations that fit."""
    made: list[str] = []
    while True:
        try:
            made.append((await conversations.create(USER, {}, items=[LONG])).id)
        except StorageLimit:
            return made


async def test_a_user_at_the_limit_is_refused_and_others_are_not(
    conversations: Conversations,
) -> None:
    made = await filled(conversations)
    assert len(made) == LIMIT // 50_000
    with pytest.raises(StorageLimit, match="delete some of them"):
        await conversations.items.create(USER, made[0], [LONG])
    await conversations.create("user_2", {}, items=[LONG])


async def test_a_question_is_refused_before_the_engine_is_asked(gateway: Replica, conversations: Conversations) -> None:
    made = await filled(conversations)
    for asked in (ResponseCreate(input="go"), ResponseCreate(input="go", conversation=made[0])):
        with pytest.raises(StorageLimit):
            await gateway.turns.start(USER, asked)
    assert gateway.engine.prompt_calls == []
    assert await gateway.redis.keys("*:response:*") == []


async def test_a_response_that_is_not_stored_needs_no_room(gateway: Replica, conversations: Conversations) -> None:
    await filled(conversations)
    assert (await gateway.run_turn(ResponseCreate(input="go", store=False)))[-1]["type"] == "response.completed"


async def test_a_deleted_conversation_makes_room_at_once(conversations: Conversations) -> None:
    made = await filled(conversations)
    await conversations.delete(USER, made[0])
    await conversations.create(USER, {}, items=[LONG])


async def test_everything_stored_of_a_turn_counts_until_it_is_deleted(gateway: Replica, redis: Redis) -> None:
    await gateway.run_turn(ResponseCreate(input="x" * 5000))
    await gateway.registry.finish(5)
    once = await counted(redis)
    assert once > 5000
    response_id = (await gateway.run_turn(ResponseCreate(input="x" * 5000)))[-1]["response"]["id"]
    await gateway.registry.finish(5)
    twice = await counted(redis)
    assert twice > once + 5000
    await ResponseStore(redis).delete(USER, await ResponseStore(redis).get(USER, response_id))
    assert once < await counted(redis) < twice


async def test_expired_data_makes_room_at_the_next_measurement(conversations: Conversations, redis: Redis) -> None:
    for made in await filled(conversations):
        await redis.delete(f"parley:{{{USER}}}:conversation:{made}:items")  # as time does with a chain
    later = Conversations(redis, StorageQuota(redis, max_bytes=LIMIT))
    await later.create(USER, {}, items=[LONG])
    assert await counted(redis) < 2 * 50_100


async def test_at_the_limit_keys_are_not_measured_for_every_request(
    conversations: Conversations, redis: Redis, quota: StorageQuota
) -> None:
    made = await filled(conversations)
    await redis.delete(f"parley:{{{USER}}}:conversation:{made[0]}:items")
    with pytest.raises(StorageLimit):
        await quota.check(USER)


async def test_concurrent_deletions_refund_once(
    conversations: Conversations, redis: Redis, quota: StorageQuota
) -> None:
    made = await filled(conversations)
    key = f"parley:{{{USER}}}:conversation:{made[0]}:items"
    before, size = await counted(redis), int(await redis.hget(f"parley:{{{USER}}}:sizes", key) or 0)
    await asyncio.gather(quota.refund(USER, [key]), quota.refund(USER, [key]))
    assert size > 50_000
    assert await counted(redis) == before - size
