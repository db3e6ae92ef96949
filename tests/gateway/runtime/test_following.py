"""Responses through any replica: two gateways on one Redis, and the turn runs on the first."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from gateway.errors import EventsExpired, NotFound
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_response_id
from gateway.runtime.running import RunningTurn
from gateway.store.history.conversations import Conversations
from gateway.turn.commands import CancelTurn
from tests.contract import conformance
from tests.gateway.builders import keys_of
from tests.gateway.replica import FakeEngine, Replica, collect_events, replica, text_stream


@pytest.fixture
async def owner(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("the answer"))) as found:
        yield found


@pytest.fixture
async def other(port: int) -> AsyncIterator[Replica]:
    async with replica(port, name="g2") as found:
        yield found


async def wake_reader(gateway: Replica, name: str) -> None:
    """Its blocking read returns at once instead of after a second."""
    await gateway.reader.send_command(name, CancelTurn("resp_of_no_turn", 0))
    await asyncio.sleep(0.005)


async def follow_frames(gateway: Replica, response_id: str, starting_after: int = -1) -> list[str]:
    return [text async for text in gateway.following.follow("user_1", response_id, starting_after)]


async def test_every_replica_sends_the_same_events_from_every_number(owner: Replica, other: Replica) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    followers = [
        asyncio.create_task(follow_frames(gateway, response_id, after))
        for gateway in (owner, other)
        for after in (-1, 2, 99)
    ]
    owner.proceed()
    whole, *_ = received = await asyncio.gather(*followers)
    assert conformance.stream([json.loads(text) for text in whole])["id"] == response_id
    assert received == [whole, whole[3:], [], whole, whole[3:], []]
    assert await follow_frames(owner, response_id) == await follow_frames(other, response_id) == whole


async def test_a_cancel_on_another_replica_stops_the_engine_and_keeps_the_text(owner: Replica, other: Replica) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    response = await other.following.cancel("user_1", response_id)
    assert owner.engine.closed.is_set()
    assert (response.status, response.incomplete_details is not None) == ("incomplete", True)
    assert [getattr(item, "text", "") for item in response.output] == ["t"]


async def test_a_cancel_on_the_owner_returns_the_stored_response(owner: Replica) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    response = await owner.following.cancel("user_1", response_id)
    assert response == (await owner.following.get("user_1", response_id)).response
    assert response.status == "incomplete"


async def test_concurrent_cancels_on_two_replicas_end_the_turn_once(owner: Replica, other: Replica) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    first, second = await asyncio.gather(*(one.following.cancel("user_1", response_id) for one in (owner, other)))
    assert first == second
    assert [json.loads(text)["type"] for text in await follow_frames(owner, response_id)].count(
        "response.incomplete"
    ) == 1


async def test_a_cancel_of_an_ended_response_changes_nothing(owner: Replica, other: Replica) -> None:
    response_id = (await owner.run_turn(ResponseCreate(input="go")))[-1]["response"]["id"]
    for gateway in (owner, other):
        assert (await gateway.following.cancel("user_1", response_id)).status == "completed"


async def test_every_replica_waits_for_the_outcome_of_a_turn(owner: Replica, other: Replica) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    running = owner.registry.find("user_1", response_id)
    on_owner = asyncio.create_task(owner.following.outcome("user_1", response_id, running=running))
    on_other = asyncio.create_task(other.following.outcome("user_1", response_id))
    owner.proceed()
    assert (await on_owner).status == "completed"
    assert await on_owner == await on_other == await owner.following.outcome("user_1", response_id)


async def test_deleting_a_response_deletes_its_events_and_items(owner: Replica, other: Replica, redis: Redis) -> None:
    response_id = (await owner.run_turn(ResponseCreate(input="go")))[-1]["response"]["id"]
    await other.following.delete("user_1", response_id)
    for operation in (owner.following.get, owner.following.check, owner.following.cancel, other.following.delete):
        with pytest.raises(NotFound):
            await operation("user_1", response_id)
    assert await redis.keys(f"*{response_id}*") == []
    assert await redis.keys("*:items") == []


async def test_a_running_turn_is_stopped_before_it_is_deleted(owner: Replica, other: Replica, redis: Redis) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    await other.following.delete("user_1", response_id)
    assert owner.engine.closed.is_set()
    await owner.registry.finish(5)
    assert await redis.keys(f"*{response_id}*") == []


async def test_deleting_a_response_leaves_its_conversation_unchanged(owner: Replica) -> None:
    conversation_id = (await Conversations(owner.redis).create("user_1", {})).id
    response_id = (await owner.run_turn(ResponseCreate(input="go", conversation=conversation_id)))[-1]["response"]["id"]
    await owner.following.delete("user_1", response_id)
    page = await Conversations(owner.redis).items.page("user_1", conversation_id, limit=9, after=None, order="asc")
    assert len(page.data) == 2


async def test_another_users_response_is_refused_like_an_absent_one(owner: Replica, other: Replica) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    messages = set()
    for gateway in (owner, other):
        for operation in (
            gateway.following.get,
            gateway.following.check,
            gateway.following.cancel,
            gateway.following.delete,
        ):
            for user, one in (("user_2", response_id), ("user_1", new_response_id())):
                with pytest.raises(NotFound) as caught:
                    await operation(user, one)
                messages.add(caught.value.message)
    assert len(messages) == 1
    assert not owner.engine.closed.is_set()


async def test_a_response_whose_events_have_expired_can_be_retrieved_but_not_followed(
    owner: Replica, other: Replica, redis: Redis
) -> None:
    running = await owner.begin_turn(ResponseCreate(input="go"))
    await collect_events(running)
    await owner.registry.finish(5)
    response_id = running.request.response_id
    await other.following.check("user_1", response_id)
    await redis.delete(*keys_of(running.log))
    with pytest.raises(EventsExpired):
        await other.following.check("user_1", response_id)
    assert (await other.following.get("user_1", response_id)).has_ended


async def test_a_follower_of_a_deleted_response_gets_an_error_event(owner: Replica, other: Replica) -> None:
    response_id = (await owner.begin_held_turn()).request.response_id
    other.reader.check_seconds = 0.0
    received: list[str] = []
    follower = asyncio.create_task(_read(other, response_id, received))
    while len(received) < 5:
        await asyncio.sleep(0.005)
    await other.responses.delete("user_1", await other.responses.get("user_1", response_id))
    while not follower.done():
        await wake_reader(other, "g2")
    await follower
    assert json.loads(received[-1])["type"] == "error"
    assert json.loads(received[-1])["error"]["code"] == NotFound.code
    assert len(received) == 6


async def _read(gateway: Replica, response_id: str, received: list[str]) -> None:
    async for text in gateway.following.follow("user_1", response_id):
        received += [text]


async def test_a_follower_waits_for_a_log_that_does_not_exist_yet(owner: Replica, other: Replica, redis: Redis) -> None:
    """Its turn is accepted, and the first event arrives later than the follower checks for the log."""
    response_id = (await owner.begin_held_turn()).request.response_id
    log = f"parley:{{user_1}}:response:{response_id}:log"
    await redis.rename(log, "aside")
    other.reader.check_seconds = 0.0
    checks = 0

    async def check(user_id: str, response_id: str, *, running: RunningTurn | None = None) -> None:
        nonlocal checks
        checks += 1
        if checks == 2:
            await redis.rename("aside", log)

    other.following.check = check  # type: ignore[method-assign]
    follower = asyncio.create_task(follow_frames(other, response_id))
    while checks < 2:
        await wake_reader(other, "g2")
    owner.proceed()
    assert conformance.stream([json.loads(text) for text in await follower])["status"] == "completed"
