"""The turns of one gateway: accepted once, running on their own, left to others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from gateway.errors import IdempotencyKeyReused, ModelNotFound, NotFound, ParleyError, Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_conversation_id, new_response_id
from gateway.protocol.items import text_of
from gateway.store.history.conversations import Conversations
from gateway.store.history.turn_store import TurnStore
from gateway.turn.records import TurnRecord
from tests.contract import conformance
from tests.gateway.replica import FakeEngine, Replica, collect_events, replica, text_stream

HELD = ResponseCreate(input="go")


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("the answer"))) as found:
        yield found


def hold(gateway: Replica) -> asyncio.Event:
    gateway.engine.hold = asyncio.Event()
    return gateway.engine.hold


async def listed(redis: Redis) -> set[bytes]:
    found: Any = await redis.smembers("parley:gateway:g1:turns")
    return set(found)


async def kept(redis: Redis, within: str) -> list[str]:
    page = await Conversations(redis).items.page("user_1", within, limit=100, after=None, order="asc")
    return [text_of(item) for item in page.data]


async def test_the_input_is_in_history_before_the_answer_starts(gateway: Replica) -> None:
    within = (await Conversations(gateway.redis).create("user_1", {})).id
    answer = await gateway.turns.start("user_1", ResponseCreate(input="hello", conversation=within))
    assert await kept(gateway.redis, within) == ["hello"]
    assert answer.running is not None
    assert answer.running.request.response_id == answer.response_id


async def test_a_turn_finishes_without_a_follower(gateway: Replica) -> None:
    within = (await Conversations(gateway.redis).create("user_1", {})).id
    await gateway.begin_turn(ResponseCreate(input="hello", conversation=within))
    await gateway.registry.finish(5)
    assert await kept(gateway.redis, within) == ["hello", "the answer"]


async def test_turns_run_concurrently(gateway: Replica) -> None:
    stories = await asyncio.gather(*(gateway.run_turn(ResponseCreate(input=f"{n}")) for n in range(20)))
    assert len({conformance.story(one)["id"] for one in stories}) == 20


async def test_a_client_that_disconnects_during_the_request_finds_the_answer_later(port: int) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    class Slow(TurnStore):
        async def accept(self, record: TurnRecord) -> str:
            reached.set()
            await go_on.wait()
            return await super().accept(record)

    async with replica(port, FakeEngine(*text_stream("the answer")), store=Slow) as gateway:
        within = (await Conversations(gateway.redis).create("user_1", {})).id
        create = ResponseCreate(input="hello", conversation=within)
        async with anyio.create_task_group() as client:
            client.start_soon(gateway.turns.start, "user_1", create)
            await reached.wait()
            client.cancel_scope.cancel()
            go_on.set()
        await gateway.registry.finish(5)
        assert await kept(gateway.redis, within) == ["hello", "the answer"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"conversation": new_conversation_id()}, NotFound),
        ({"previous_response_id": new_response_id()}, ParleyError),
        ({"model": "gpt-9"}, ModelNotFound),
        ({"model": "gpt-9", "store": False}, ModelNotFound),
    ],
)
async def test_a_refused_request_starts_no_turn_and_stores_nothing(
    gateway: Replica, redis: Redis, asked: dict[str, Any], error: type[ParleyError]
) -> None:
    with pytest.raises(error):
        await gateway.turns.start("user_1", ResponseCreate(input="x", **asked))
    await gateway.registry.finish(0)
    assert gateway.engine.prompt_calls == []
    assert [key for key in await redis.keys() if b"parley:gateway" not in key] == []


class Lossy(TurnStore):
    """Redis does what it is asked, and its answer is lost."""

    lost = 1

    async def accept(self, record: TurnRecord) -> str:
        accepted = await super().accept(record)
        if self.lost:
            self.lost -= 1
            raise Unavailable("redis")
        return accepted


async def test_a_retry_finds_a_turn_whose_acceptance_was_not_acknowledged(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("the answer")), store=Lossy) as gateway:
        within = (await Conversations(gateway.redis).create("user_1", {})).id
        create = ResponseCreate(input="hello", conversation=within)
        with pytest.raises(Unavailable):
            await gateway.turns.start("user_1", create, idempotency_key="mine")
        again = await gateway.turns.start("user_1", create, idempotency_key="mine")
        whole = await gateway.following.outcome("user_1", again.response_id, running=again.running)
        assert whole.status == "completed"
        assert await kept(gateway.redis, within) == ["hello", "the answer"]
        assert len(gateway.engine.prompt_calls) == 1


async def test_ten_concurrent_requests_with_one_idempotency_key_are_one_turn(gateway: Replica) -> None:
    within = (await Conversations(gateway.redis).create("user_1", {})).id
    create = ResponseCreate(input="hello", conversation=within)
    answers = await asyncio.gather(*(gateway.turns.start("user_1", create, idempotency_key="mine") for _ in range(10)))
    other = await gateway.turns.start("user_2", ResponseCreate(input="hello"), idempotency_key="mine")
    await gateway.registry.finish(5)
    assert len({answer.response_id for answer in answers}) == 1
    assert other.response_id != answers[0].response_id
    assert len(gateway.engine.prompt_calls) == 2
    assert await kept(gateway.redis, within) == ["hello", "the answer"]


async def test_an_idempotency_key_of_another_request_is_refused_and_nothing_is_stored(gateway: Replica) -> None:
    here, there = [(await Conversations(gateway.redis).create("user_1", {})).id for _ in range(2)]
    await gateway.turns.start("user_1", ResponseCreate(input="hello", conversation=here), idempotency_key="mine")
    await gateway.registry.finish(5)
    for other in (
        ResponseCreate(input="goodbye", conversation=here),
        ResponseCreate(input="hello", conversation=there),
    ):
        with pytest.raises(IdempotencyKeyReused):
            await gateway.turns.start("user_1", other, idempotency_key="mine")
    assert await kept(gateway.redis, here) == ["hello", "the answer"]
    assert await kept(gateway.redis, there) == []


async def test_another_users_turn_is_not_found(gateway: Replica) -> None:
    go_on = hold(gateway)
    running = await gateway.begin_turn(HELD)
    response_id = running.request.response_id
    assert gateway.registry.find("user_1", response_id) is running
    assert gateway.registry.find("user_2", response_id) is None
    assert gateway.registry.find("user_1", new_response_id()) is None
    go_on.set()
    await collect_events(running)
    await gateway.registry.finish(5)
    assert gateway.registry.find("user_1", response_id) is None


async def test_stopping_an_unknown_turn_stops_no_other(gateway: Replica) -> None:
    go_on = hold(gateway)
    running = await gateway.begin_turn(HELD)
    gateway.registry.stop(new_response_id())
    assert running.stop_requested_at is None
    go_on.set()
    assert conformance.story(await collect_events(running))["status"] == "completed"


async def test_a_stored_turn_is_listed_while_it_runs(gateway: Replica, redis: Redis) -> None:
    go_on = hold(gateway)
    running = await gateway.begin_turn(HELD)
    await gateway.begin_turn(ResponseCreate(input="secret", store=False))
    assert await listed(redis) == {f"user_1 {running.request.response_id}".encode()}
    go_on.set()
    await gateway.registry.finish(5)
    assert await listed(redis) == set()


async def test_finish_waits_for_running_turns(gateway: Replica) -> None:
    go_on = hold(gateway)
    running = await gateway.begin_turn(HELD)
    finishing = asyncio.create_task(gateway.registry.finish(5))
    go_on.set()
    await finishing
    assert conformance.story(await collect_events(running))["status"] == "completed"


async def test_a_released_turn_gets_no_terminal_event_and_stays_listed(gateway: Replica, redis: Redis) -> None:
    hold(gateway)
    running = await gateway.begin_turn(HELD)
    while len(running.log.events) < 5:
        await asyncio.sleep(0.005)
    await gateway.registry.release()
    assert (running.log.events.is_closed, running.log.events.is_complete) == (True, False)
    assert gateway.engine.closed.is_set()
    assert await listed(redis) == {f"user_1 {running.request.response_id}".encode()}
    stored = await gateway.responses.get("user_1", running.request.response_id)
    assert not stored.has_ended


async def test_an_unstored_turn_ends_with_its_gateway(gateway: Replica) -> None:
    hold(gateway)
    running = await gateway.begin_turn(ResponseCreate(input="secret", store=False))
    while len(running.log.events) < 5:
        await asyncio.sleep(0.005)
    await gateway.registry.release()
    assert conformance.story(await collect_events(running))["status"] == "incomplete"


async def test_a_stopped_turn_is_ended_instead_of_released(gateway: Replica) -> None:
    hold(gateway)
    running = await gateway.begin_turn(HELD)
    running.stop()
    await gateway.registry.release()
    assert conformance.story(await collect_events(running))["status"] == "incomplete"
