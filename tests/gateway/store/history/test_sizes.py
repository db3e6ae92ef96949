"""What is counted is what Redis stores, within a factor: after any sequence of operations."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.errors import ParleyError
from gateway.protocol.create import ResponseCreate
from gateway.protocol.input_items import InputMessage
from gateway.protocol.resources import Generation, Usage
from gateway.store.history.conversations import Conversations
from gateway.store.usage import UsageStore
from tests.gateway.replica import FakeEngine, Replica, replica, text_stream

USER = "user_1"
# Of `MEMORY USAGE`. Small objects are mostly structure, which depends on how many there are.
LOWEST, HIGHEST = 0.6, 1.7

_TEXTS = st.integers(0, 2_000).map("x".__mul__) | st.integers(0, 300).map("灯".__mul__)
_NUMBERS = st.integers(0, 5)
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "create",
                "update",
                "retitle",
                "add items",
                "delete an item",
                "delete a conversation",
                "ask",
                "ask outside",
                "branch",
                "branch",
                "delete a response",
                "use",
            ]
        ),
        _NUMBERS,
        _TEXTS,
    ),
    min_size=1,
    max_size=14,
)


class World:
    """Does what a user can do, with objects chosen by number."""

    def __init__(self, gateway: Replica) -> None:
        self._gateway = gateway
        self._conversations = Conversations(gateway.redis)
        self._usage = UsageStore(gateway.redis)
        self._made: list[str] = []
        self._responses: list[str] = []

    async def do(self, what: str, number: int, text: str) -> None:
        conversation = self._made[number % len(self._made)] if self._made else None
        response = self._responses[number % len(self._responses)] if self._responses else None
        try:
            await self._try(what, text, conversation, response)
        except ParleyError:
            return  # of something that was deleted

    async def _try(self, what: str, text: str, conversation: str | None, response: str | None) -> None:
        items = [InputMessage("user", text), InputMessage("assistant", text[:50])]
        match what:
            case "create":
                made = await self._conversations.create(
                    USER, {"a": text[:500]}, generation=Generation(instructions=text), items=items
                )
                self._made.append(made.id)
            case "ask outside":
                await self._ask(text)
            case "use":
                await self._usage.add(USER, Usage(1, 1, 2))
            case "branch" | "delete a response" if response is not None:
                if what == "branch":
                    await self._ask(text, previous_response_id=response)
                else:
                    await self._gateway.following.delete(USER, response)
            case _ if conversation is not None:
                await self._change(what, text, conversation, items)

    async def _change(self, what: str, text: str, conversation: str, items: list[InputMessage]) -> None:
        match what:
            case "update":
                await self._conversations.update(
                    USER, conversation, metadata={"b": text[:500]}, generation=Generation(instructions=text[:900])
                )
            case "retitle":
                await self._conversations.retitle(USER, conversation, text[:100], instead_of="")
            case "add items":
                await self._conversations.items.create(USER, conversation, items)
            case "delete an item":
                page = await self._conversations.items.page(USER, conversation, limit=1, after=None, order="asc")
                for item in page.data:
                    await self._conversations.items.delete(USER, conversation, item.id)
            case "delete a conversation":
                await self._conversations.delete(USER, conversation)
            case "ask":
                await self._ask(text, conversation=conversation)

    async def _ask(self, text: str, **place: Any) -> None:
        self._gateway.engine.events = text_stream(f"fine {text[:200]}")
        create = ResponseCreate(input=text or "?", instructions=text[:100], metadata={"a": text[:100]}, **place)
        key = f"key {len(self._responses)}"
        started = await self._gateway.turns.start(USER, create, idempotency_key=key)
        await self._gateway.registry.finish(10)
        self._responses.append(started.response_id)


async def measured(redis: Redis) -> int:
    keys: Any = await redis.keys(f"parley:{{{USER}}}:*")
    return sum([await redis.memory_usage(key, samples=0) or 0 for key in keys])


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS)
async def test_the_count_is_the_memory_that_redis_uses_within_a_factor(
    port: int, redis: Redis, operations: list[tuple[str, int, str]]
) -> None:
    await redis.flushall()
    async with replica(port, FakeEngine()) as gateway:
        gateway.engine.context_tokens = 10**6
        world = World(gateway)
        for operation in operations:
            await world.do(*operation)
    parts: Any = await redis.hgetall(f"parley:{{{USER}}}:quota")
    total = int(parts.pop(b"*", b"0"))
    assert total == sum(int(value.split()[0]) for value in parts.values())
    assert not any(name.startswith(b"reserved:") for name in parts)
    memory = await measured(redis)
    assert LOWEST * memory - 1_000 <= total <= HIGHEST * memory + 3_000


@pytest.mark.parametrize("count", [1, 200])
async def test_many_turns_are_counted_as_what_they_take(port: int, redis: Redis, count: int) -> None:
    async with replica(port, FakeEngine(*text_stream("fine" * 20))) as gateway:
        made = await gateway.create_conversation()
        for start in range(0, count, 20):
            many = [ResponseCreate(input="go", conversation=made) for _ in range(min(20, count - start))]
            await asyncio.gather(*(gateway.turns.start(USER, create) for create in many))
            await gateway.registry.finish(20)
    memory = await measured(redis)
    assert LOWEST * memory <= int(await redis.hget(f"parley:{{{USER}}}:quota", "*") or 0) <= HIGHEST * memory
