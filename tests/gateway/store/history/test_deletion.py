"""What users delete is gone: every key and value of Redis is searched for what they wrote."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.inference import Finished, PromptTokens, ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol.create import ResponseCreate
from gateway.protocol.input_items import InputFunctionCall, InputFunctionCallOutput, InputMessage, InputReasoning
from gateway.protocol.items import ReasoningText
from gateway.protocol.resources import Generation
from gateway.protocol.tools import FunctionTool
from gateway.store.erasure import Erasure
from gateway.store.history.conversations import Conversations
from tests.gateway.builders import background_task
from tests.gateway.replica import FakeEngine, Replica, replica

USER = "user_1"


@dataclass
class Canaries:
    """Each place that a user, or the model, can write to gets a text of its own."""

    sung: dict[str, str] = field(default_factory=dict)

    def sing(self, place: str) -> str:
        return self.sung.setdefault(place, f"canary{secrets.token_hex(6)}")

    async def alive(self, redis: Redis) -> set[str]:
        """The places whose text Redis still contains, anywhere."""
        everything = b"".join([part async for part in _everything(redis)])
        return {place for place, text in self.sung.items() if text.encode() in everything}


async def _everything(redis: Redis) -> AsyncIterator[bytes]:
    keys: Any = await redis.keys()
    for key in keys:
        yield key
        match await redis.type(key):
            case b"string":
                found: Any = await redis.get(key)
            case b"hash":
                found = await redis.hgetall(key)
            case b"set":
                found = await redis.smembers(key)
            case b"zset":
                found = await redis.zrange(key, 0, -1)
            case b"stream":
                found = await redis.xrange(key)
            case other:
                raise AssertionError(other)
        yield repr(found).encode()


@pytest.fixture
def canaries() -> Canaries:
    return Canaries()


@pytest.fixture
async def gateway(port: int, canaries: Canaries) -> AsyncIterator[Replica]:
    events = (
        PromptTokens((1,)),
        ReasoningTextDelta(canaries.sing("the reasoning"), (2,)),
        TextDelta(canaries.sing("the answer"), (3,)),
        ToolCallDelta(0, canaries.sing("the arguments of a call"), "look", (4,)),
        Finished("stop"),
    )
    async with replica(port, FakeEngine(*events)) as found:
        yield found


@dataclass
class Written:
    """A conversation with an answer, a chain after it, and another conversation that stays."""

    conversation: str
    inside: str
    outside: str


async def write(gateway: Replica, canaries: Canaries) -> Written:
    sing, conversations = canaries.sing, Conversations(gateway.redis)
    made = await conversations.create(
        USER,
        {"title": sing("a title"), sing("a key of metadata"): "x"},
        generation=Generation(instructions=sing("instructions of a conversation")),
        items=[InputMessage("system", sing("an item"))],
    )
    await conversations.update(USER, made.id, metadata={"note": sing("updated metadata")})
    await conversations.retitle(USER, made.id, sing("a generated title"), instead_of="")
    await conversations.items.create(USER, made.id, [InputMessage("user", sing("an added item"))])
    inside = await _ask(gateway, canaries, "inside", conversation=made.id)
    outside = await _ask(gateway, canaries, "outside", previous_response_id=inside)
    return Written(made.id, inside, outside)


async def _ask(gateway: Replica, canaries: Canaries, where: str, **place: Any) -> str:
    def sing(what: str) -> str:
        return canaries.sing(f"{what}, {where}")

    call = InputFunctionCall("call_1", "look", sing("arguments"))
    create = ResponseCreate(
        input=(
            InputMessage("user", sing("a question")),
            InputReasoning(content=(ReasoningText(sing("reasoning")),)),
            call,
            InputFunctionCallOutput("call_1", sing("the output of a call")),
        ),
        instructions=sing("instructions"),
        metadata={"key": sing("metadata")},
        tools=(FunctionTool(name="look", description=sing("a tool")),),
        safety_identifier=sing("a safety identifier"),
        prompt_cache_key=sing("a cache key"),
        **place,
    )
    key = sing("an idempotency key")
    response_id = (await gateway.turns.start(USER, create, idempotency_key=key)).response_id
    await gateway.registry.finish(5)
    return response_id


def outside_only(canaries: Canaries) -> set[str]:
    model = {"the reasoning", "the answer", "the arguments of a call"}
    return model | {place for place in canaries.sung if place.endswith("outside")}


async def test_every_text_is_somewhere_before_anything_is_deleted(
    gateway: Replica, canaries: Canaries, redis: Redis
) -> None:
    """Else the tests below would find nothing because nothing was written. Idempotency keys are stored as digests, and
    a title or metadata that was replaced is gone."""
    await write(gateway, canaries)
    gone = {"a title", "a key of metadata", *(one for one in canaries.sung if one.startswith("an idempotency key"))}
    assert await canaries.alive(redis) == canaries.sung.keys() - gone


async def delete_conversation(gateway: Replica, written: Written) -> None:
    await Conversations(gateway.redis).delete(USER, written.conversation)


async def delete_every_item(gateway: Replica, written: Written) -> None:
    items = Conversations(gateway.redis).items
    for item in (await items.page(USER, written.conversation, limit=100, after=None, order="asc")).data:
        await items.delete(USER, written.conversation, item.id)


async def test_a_deleted_conversation_is_gone_from_every_key_and_chain(
    gateway: Replica, canaries: Canaries, redis: Redis
) -> None:
    await delete_conversation(gateway, await write(gateway, canaries))
    assert await canaries.alive(redis) <= outside_only(canaries)


async def test_deleted_items_are_gone_from_every_key_and_chain(
    gateway: Replica, canaries: Canaries, redis: Redis
) -> None:
    """What is no item stays with its conversation and its response."""
    written = await write(gateway, canaries)
    await gateway.following.delete(USER, written.outside)
    await delete_every_item(gateway, written)
    kept = ("a generated title", "updated metadata", "instructions", "metadata", "a tool", "a safety", "a cache key")
    assert {one for one in await canaries.alive(redis) if not one.startswith(kept)} == set()


@pytest.mark.parametrize("order", [("inside", "outside"), ("outside", "inside")], ids=str)
async def test_deleted_responses_leave_only_the_items_of_their_conversation(
    gateway: Replica, canaries: Canaries, redis: Redis, order: tuple[str, ...]
) -> None:
    written = await write(gateway, canaries)
    for where in order:
        await gateway.following.delete(USER, getattr(written, where))
    alive = await canaries.alive(redis)
    assert {one for one in alive if one.endswith("outside")} == set()
    await delete_conversation(gateway, written)
    assert await canaries.alive(redis) == set()


async def test_of_a_deleted_branch_point_nothing_stays_in_its_branches(
    gateway: Replica, canaries: Canaries, redis: Redis
) -> None:
    first = await _ask(gateway, canaries, "before")
    for number in range(2):
        await _ask(gateway, canaries, f"branch {number}", previous_response_id=first)
    await gateway.following.delete(USER, first)
    assert {one for one in await canaries.alive(redis) if one.endswith("before")} == set()


class OneDeletion:
    def __init__(self) -> None:
        self.done = asyncio.Event()

    async def deletions(self) -> list[str]:
        return [] if self.done.is_set() else [USER]

    async def erased(self, _: str) -> None:
        self.done.set()


async def test_of_a_deleted_user_no_key_is_left(gateway: Replica, canaries: Canaries, redis: Redis) -> None:
    await write(gateway, canaries)
    deletion = OneDeletion()
    async with background_task(Erasure(redis, deletion, interval_seconds=0.01, settled_seconds=0).run()):
        await deletion.done.wait()
    assert await canaries.alive(redis) == set()
    assert await redis.keys("*{user_1}*") == []
