"""A cancel while a turn changes its owner: the last owner closes the stream from its engine."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from gateway.errors import NotFound, Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_response_id
from gateway.runtime.following import ResponseFollower
from gateway.store.clock import redis_now_ms
from gateway.store.history.conversations import Conversations
from gateway.store.history.responses import ResponseStore
from gateway.turn.commands import CancelTurn
from gateway.turn.records import InterruptedTurn, StoredResponse
from tests.gateway.replica import PROMPT_IDS, FakeEngine, Replica, replica, text_stream
from tests.gateway.takeovers import TEXT, abandon_turn, final_response, takeover_by


class ResponsesWithoutCancel(ResponseStore):
    """Misses a cancel, as if it had read the response a moment earlier."""

    async def interrupted(self, user_id: str, response_id: str) -> InterruptedTurn:
        found = await super().interrupted(user_id, response_id)
        return InterruptedTurn(found.request, found.stored, None)


class UnreachableResponses(ResponseStore):
    async def find(self, user_id: str, response_id: str) -> StoredResponse:
        raise Unavailable("redis")


@pytest.fixture
async def successor(port: int) -> AsyncIterator[Replica]:
    """Its engine waits after its first letter too."""
    engine = FakeEngine(*text_stream(TEXT))
    engine.hold = asyncio.Event()
    async with replica(port, engine, name="g2") as found:
        yield found


async def test_a_cancel_that_the_new_owner_has_just_missed_is_sent_again(
    owner: Replica, successor: Replica, redis: Redis, port: int
) -> None:
    response_id = await abandon_turn(owner)
    async with (
        replica(port, name="g3") as third,
        takeover_by(successor, redis, responses=ResponsesWithoutCancel) as takeover,
    ):
        cast("Any", owner.registry).stop = lambda *_, **__: None  # it is dead: no command arrives
        stopping = asyncio.create_task(third.following.cancel("user_1", response_id))
        while not await redis.hexists(f"parley:{{user_1}}:response:{response_id}", "cancel"):
            await asyncio.sleep(0.005)
        await takeover.take_over_all("g1")
        stopped = await stopping
        assert successor.engine.closed.is_set()
    assert (stopped.status, stopped.incomplete_details is not None) == ("incomplete", True)


async def test_a_cancel_at_a_former_owner_reaches_the_new_one(owner: Replica, successor: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        assert owner.registry.find("user_1", response_id) is not None
        stopped = await owner.following.cancel("user_1", response_id)
        assert successor.engine.closed.is_set()
    assert stopped.status == "incomplete"


async def test_a_cancel_is_stored_also_where_the_turn_runs(owner: Replica, redis: Redis) -> None:
    """If its gateway dies before the end is stored, the gateway that takes it over ends it."""
    response_id = await abandon_turn(owner)
    await owner.following.cancel("user_1", response_id)
    assert (await ResponseStore(redis).interrupted("user_1", response_id)).cancelled_ms_ago is not None


async def test_a_cancel_that_cannot_be_stored_still_stops_a_turn_that_runs_here(owner: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)
    following = ResponseFollower(owner.registry, UnreachableResponses(redis), owner.reader)
    assert (await following.cancel("user_1", response_id)).status == "incomplete"
    await owner.registry.finish(5)
    with pytest.raises(Unavailable):
        await following.cancel("user_1", response_id)


async def test_a_turn_cancelled_before_its_takeover_keeps_text_and_usage_and_calls_no_engine(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    await ResponseStore(redis).request_cancel("user_1", response_id)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        response = await final_response(successor, response_id)
        await successor.registry.finish(5)
    assert (successor.engine.prompt_calls, successor.engine.continued_ids) == ([], [])
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("incomplete", "a")
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (len(PROMPT_IDS), 1)
    assert response["incomplete_details"]["stopped_in_ms"] >= 0
    assert [(user, usage.total_tokens) for user, usage in successor.usage.added] == [("user_1", len(PROMPT_IDS) + 1)]


async def test_usage_of_a_committed_answer_is_recorded_by_the_gateway_that_publishes_its_end(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    assert running is not None
    cast("Any", running.log).append_entries = lambda _: None  # dies after the commit
    owner.proceed()
    while not (await owner.responses.get("user_1", response_id)).has_ended:
        await asyncio.sleep(0.005)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        assert (await final_response(successor, response_id))["status"] == "completed"
        await successor.registry.finish(5)
    assert [(user, usage.output_tokens) for user, usage in successor.usage.added] == [("user_1", len(TEXT))]
    running.log.fence_off()
    await owner.registry.finish(5)
    assert owner.usage.added == []


async def test_a_cancel_of_another_users_response_stores_nothing(owner: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)
    with pytest.raises(NotFound):
        await owner.following.cancel("user_2", response_id)
    assert await redis.keys("parley:{user_2}:*") == []


async def test_a_remote_cancel_is_timed_from_its_request(owner: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)
    requested_at_ms = await redis_now_ms(redis) - 60_000
    await owner.reader.send_command("g1", CancelTurn(response_id, requested_at_ms))
    response = await final_response(owner, response_id)
    assert 60_000 <= response["incomplete_details"]["stopped_in_ms"] < 120_000


async def test_a_cancel_of_a_deleted_response_stores_nothing(owner: Replica, redis: Redis) -> None:
    with pytest.raises(NotFound):
        await ResponseStore(redis).request_cancel("user_1", new_response_id())
    assert [key for key in await redis.keys() if b"response" in key] == []


async def test_followers_on_every_gateway_see_the_end_of_an_answer_whose_conversation_is_deleted(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    conversations = Conversations(redis)
    conversation_id = (await conversations.create("user_1", {})).id
    running = await owner.begin_held_turn(ResponseCreate(input="go", conversation=conversation_id))
    response_id = running.request.response_id
    followers = [asyncio.create_task(one.followed_events(response_id)) for one in (owner, successor)]
    (active,) = await conversations.delete("user_1", conversation_id)
    owner.registry.stop(active)
    on_owner, on_successor = await asyncio.gather(*followers)
    assert on_owner == on_successor
    assert on_owner[-1]["type"] == "response.incomplete"
    await owner.registry.finish(5)
    left = [key for key in await redis.keys() if response_id.encode() in key]
    assert [await redis.ttl(key) <= 10 for key in left] == [True]
