"""A request is accepted exactly once (`acceptance`): its input is stored, then its turn starts."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from gateway.errors import IdempotencyKeyReused, ModelNotFound, NotFound, ParleyError, TooManyRequests, Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_conversation_id, new_response_id
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.turn_store import TurnStore
from gateway.turn.records import ThreadSnapshot, TurnRecord
from tests.gateway.builders import stored_keys
from tests.gateway.replica import FakeEngine, Replica, replica, text_stream
from tests.gateway.takeovers import count_listed


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("the answer"))) as found:
        yield found


async def test_the_input_is_in_history_before_the_answer_starts(gateway: Replica) -> None:
    conversation_id = await gateway.create_conversation()
    started = await gateway.turns.start("user_1", ResponseCreate(input="hello", conversation=conversation_id))
    assert await gateway.stored_texts(conversation_id) == ["hello"]
    assert started.running is not None
    assert started.running.request.response_id == started.response_id


async def test_a_client_that_disconnects_during_the_request_finds_the_answer_later(port: int) -> None:
    reached, proceed = asyncio.Event(), asyncio.Event()

    class SlowStore(TurnStore):
        async def accept(self, record: TurnRecord) -> str:
            reached.set()
            await proceed.wait()
            return await super().accept(record)

    async with replica(port, FakeEngine(*text_stream("the answer")), store=SlowStore) as gateway:
        conversation_id = await gateway.create_conversation()
        create = ResponseCreate(input="hello", conversation=conversation_id)
        async with anyio.create_task_group() as client:
            client.start_soon(gateway.turns.start, "user_1", create)
            await reached.wait()
            client.cancel_scope.cancel()
            proceed.set()
        await gateway.registry.finish(5)
        assert await gateway.stored_texts(conversation_id) == ["hello", "the answer"]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"conversation": new_conversation_id()}, NotFound),
        ({"previous_response_id": new_response_id()}, ParleyError),
        ({"model": "gpt-9"}, ModelNotFound),
        ({"model": "gpt-9", "store": False}, ModelNotFound),
    ],
)
async def test_a_refused_request_starts_no_turn_and_stores_nothing(
    gateway: Replica, redis: Redis, fields: dict[str, Any], error: type[ParleyError]
) -> None:
    with pytest.raises(error):
        await gateway.turns.start("user_1", ResponseCreate(input="x", **fields))
    await gateway.registry.finish(0)
    assert gateway.engine.prompt_calls == []
    assert [key for key in await stored_keys(redis) if b"parley:gateway" not in key] == []


async def test_a_turn_whose_history_a_bug_keeps_from_being_read_is_not_listed(port: int, redis: Redis) -> None:
    class BrokenHistory(HistoryReader):
        async def reserve(self, user_id: str, thread_id: str, count: int) -> ThreadSnapshot:
            raise ZeroDivisionError

    async with replica(port, history=BrokenHistory) as gateway:
        create = ResponseCreate(input="hello", conversation=await gateway.create_conversation())
        with pytest.raises(ZeroDivisionError):
            await gateway.turns.start("user_1", create)
        assert await count_listed(redis, "g1") == 0


class LossyStore(TurnStore):
    """Redis accepts the turn, and its reply is lost."""

    lost = 1

    async def accept(self, record: TurnRecord) -> str:
        accepted = await super().accept(record)
        if self.lost:
            self.lost -= 1
            raise Unavailable("redis")
        return accepted


async def test_a_retry_finds_a_turn_whose_acceptance_was_not_acknowledged(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("the answer")), store=LossyStore) as gateway:
        conversation_id = await gateway.create_conversation()
        create = ResponseCreate(input="hello", conversation=conversation_id)
        with pytest.raises(Unavailable):
            await gateway.turns.start("user_1", create, idempotency_key="mine")
        retry = await gateway.turns.start("user_1", create, idempotency_key="mine")
        outcome = await gateway.following.outcome("user_1", retry.response_id, running=retry.running)
        assert outcome.status == "completed"
        assert await gateway.stored_texts(conversation_id) == ["hello", "the answer"]
        assert len(gateway.engine.prompt_calls) == 1


async def test_ten_concurrent_requests_with_one_idempotency_key_are_one_turn(gateway: Replica) -> None:
    conversation_id = await gateway.create_conversation()
    create = ResponseCreate(input="hello", conversation=conversation_id)
    started = await asyncio.gather(*(gateway.turns.start("user_1", create, idempotency_key="mine") for _ in range(10)))
    other = await gateway.turns.start("user_2", ResponseCreate(input="hello"), idempotency_key="mine")
    await gateway.registry.finish(5)
    assert len({one.response_id for one in started}) == 1
    assert other.response_id != started[0].response_id
    assert len(gateway.engine.prompt_calls) == 2
    assert await gateway.stored_texts(conversation_id) == ["hello", "the answer"]


async def test_an_idempotency_key_of_another_request_is_refused_and_nothing_is_stored(gateway: Replica) -> None:
    here, there = [await gateway.create_conversation() for _ in range(2)]
    await gateway.turns.start("user_1", ResponseCreate(input="hello", conversation=here), idempotency_key="mine")
    await gateway.registry.finish(5)
    for other in (
        ResponseCreate(input="goodbye", conversation=here),
        ResponseCreate(input="hello", conversation=there),
    ):
        with pytest.raises(IdempotencyKeyReused):
            await gateway.turns.start("user_1", other, idempotency_key="mine")
    assert await gateway.stored_texts(here) == ["hello", "the answer"]
    assert await gateway.stored_texts(there) == []


async def test_the_answers_of_one_user_are_limited_and_a_retry_starts_none(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("the answer")), max_answers=2) as gateway:
        gateway.engine.hold = asyncio.Event()
        question = ResponseCreate(input="hello")
        first = await gateway.turns.start("user_1", question, idempotency_key="first")
        await gateway.turns.start("user_1", ResponseCreate(input="hello", store=False))
        for stored in (True, False):
            with pytest.raises(TooManyRequests, match="2 answers are already running"):
                await gateway.turns.start("user_1", ResponseCreate(input="hello", store=stored))
        assert await gateway.turns.start("user_1", question, idempotency_key="first") == first
        await gateway.turns.start("user_2", question)
        gateway.engine.hold.set()
        await gateway.registry.finish(5)
        for _ in range(2):
            await gateway.turns.start("user_1", question)


async def test_a_request_that_is_refused_does_not_count_as_an_answer(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("the answer")), max_answers=1) as gateway:
        for stored in (True, False):
            with pytest.raises(ModelNotFound):
                await gateway.turns.start("user_1", ResponseCreate(input="hello", model="gpt-9", store=stored))
        await gateway.turns.start("user_1", ResponseCreate(input="hello"))
