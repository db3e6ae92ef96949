"""The turns of one gateway: they run on their own, and are finished or released."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_response_id
from tests.contract import conformance
from tests.gateway.replica import REQUEST, FakeEngine, Replica, collect_events, replica, text_stream


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("the answer"))) as found:
        yield found


def hold(gateway: Replica) -> asyncio.Event:
    gateway.engine.hold = asyncio.Event()
    return gateway.engine.hold


async def listed_turns(redis: Redis) -> set[bytes]:
    found: Any = await redis.smembers("parley:gateway:g1:turns")
    return set(found)


async def test_a_turn_finishes_without_a_follower(gateway: Replica) -> None:
    conversation_id = await gateway.create_conversation()
    await gateway.begin_turn(ResponseCreate(input="hello", conversation=conversation_id))
    await gateway.registry.finish(5)
    assert await gateway.stored_texts(conversation_id) == ["hello", "the answer"]


async def test_turns_run_concurrently(gateway: Replica) -> None:
    proceed = hold(gateway)
    running = [await gateway.begin_turn(ResponseCreate(input=f"{n}")) for n in range(20)]
    while len(gateway.engine.calls) < 20:
        await asyncio.sleep(0.005)
    proceed.set()
    assert len({conformance.stream(await collect_events(one))["id"] for one in running}) == 20


async def test_another_users_turn_is_not_found(gateway: Replica) -> None:
    proceed = hold(gateway)
    running = await gateway.begin_turn(REQUEST)
    response_id = running.request.response_id
    assert gateway.registry.find("user_1", response_id) is running
    assert gateway.registry.find("user_2", response_id) is None
    assert gateway.registry.find("user_1", new_response_id()) is None
    proceed.set()
    await collect_events(running)
    await gateway.registry.finish(5)
    assert gateway.registry.find("user_1", response_id) is None


async def test_stopping_an_unknown_turn_stops_no_other(gateway: Replica) -> None:
    proceed = hold(gateway)
    running = await gateway.begin_turn(REQUEST)
    gateway.registry.stop(new_response_id())
    assert running.stop_requested_at is None
    proceed.set()
    assert conformance.stream(await collect_events(running))["status"] == "completed"


async def test_a_stored_turn_is_listed_while_it_runs(gateway: Replica, redis: Redis) -> None:
    proceed = hold(gateway)
    running = await gateway.begin_turn(REQUEST)
    await gateway.begin_turn(ResponseCreate(input="secret", store=False))
    assert await listed_turns(redis) == {f"user_1 {running.request.response_id}".encode()}
    proceed.set()
    await gateway.registry.finish(5)
    assert await listed_turns(redis) == set()


async def test_finish_waits_for_running_turns(gateway: Replica) -> None:
    proceed = hold(gateway)
    running = await gateway.begin_turn(REQUEST)
    finishing = asyncio.create_task(gateway.registry.finish(5))
    proceed.set()
    await finishing
    assert running.log.events.is_complete
    assert conformance.stream(await collect_events(running))["status"] == "completed"


async def test_a_released_turn_gets_no_terminal_event_and_stays_listed(gateway: Replica, redis: Redis) -> None:
    running = await gateway.begin_held_turn()
    await gateway.registry.release()
    assert (running.log.events.is_closed, running.log.events.is_complete) == (True, False)
    assert gateway.engine.closed.is_set()
    assert await listed_turns(redis) == {f"user_1 {running.request.response_id}".encode()}
    stored = await gateway.responses.get("user_1", running.request.response_id)
    assert not stored.has_ended


async def test_an_unstored_turn_ends_with_its_gateway(gateway: Replica) -> None:
    running = await gateway.begin_held_turn(ResponseCreate(input="secret", store=False))
    await gateway.registry.release()
    assert conformance.stream(await collect_events(running))["status"] == "incomplete"


async def test_a_stopped_turn_is_ended_instead_of_released(gateway: Replica) -> None:
    hold(gateway)
    running = await gateway.begin_turn(REQUEST)
    running.stop()
    await gateway.registry.release()
    assert conformance.stream(await collect_events(running))["status"] == "incomplete"
