"""What of a conversation is sent, against the real history and an engine that counts bytes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.history.conversations import Conversations
from gateway.history.threads import RECENT_ITEMS
from gateway.protocol.create import ResponseCreate
from gateway.protocol.tools import FunctionTool
from tests.gateway.builders import Wire
from tests.gateway.replica import FakeEngine, Replica, replica, spoken


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port) as found:
        yield found


@pytest.fixture
async def within(gateway: Replica) -> str:
    return (await Conversations(gateway.redis).create("user_1", {})).id


async def say(gateway: Replica, within: str, text: str = "hi", **more: Any) -> Wire:
    asked: Wire = {"truncation": "auto", "conversation": within, "max_output_tokens": 100}
    events = await gateway.answered(ResponseCreate(input=text, **(asked | more)))
    response: Wire = events[-1]["response"]
    return response


async def test_a_short_conversation_needs_no_count(gateway: Replica, within: str) -> None:
    for _ in range(5):
        assert (await say(gateway, within))["status"] == "completed"
    assert gateway.engine.counted == 0
    assert gateway.engine.texts == ["be kind", *["hi", "ok"] * 4, "hi"]


async def test_the_last_usage_proves_room_where_bytes_alone_would_not(gateway: Replica, within: str) -> None:
    gateway.engine.size = 700
    for _ in range(8):
        await say(gateway, within)
    told = [len(prompts) for prompts, _, _ in gateway.engine.asked]
    assert told == [2 + 2 * number for number in range(8)]
    assert gateway.engine.counted < 8


async def test_a_long_message_is_counted(gateway: Replica, within: str) -> None:
    response = await say(gateway, within, "x" * 4000)
    assert gateway.engine.counted == 1
    assert response["window"]["context_tokens"] == 4096


async def test_another_shape_is_counted_anew(gateway: Replica, within: str) -> None:
    gateway.engine.size = 300
    await say(gateway, within)
    await say(gateway, within)
    counted = gateway.engine.counted
    await say(gateway, within, tools=(FunctionTool("add", "x" * 100),))
    assert gateway.engine.counted == counted + 1


async def test_the_oldest_turns_are_left_out_and_the_response_says_how_many_items(
    gateway: Replica, within: str
) -> None:
    gateway.engine.size = 1000
    for number in range(4):
        response = await say(gateway, within, f"{number}" * 240, max_output_tokens=256)
    assert [text[:1] for text in gateway.engine.texts] == ["b", "1", "o", "2", "o", "3"]
    tokens = len("be kind") + 3 * 240 + 2 * 2
    assert response["window"] == {"items_left_out": 2, "input_tokens": tokens, "context_tokens": 1000}


async def test_what_may_not_be_left_out_is_refused_with_both_numbers(gateway: Replica, within: str) -> None:
    gateway.engine.size = 500
    await say(gateway, within, "x" * 300)
    refused = await say(gateway, within, "x" * 300, truncation="disabled")
    assert refused["error"]["code"] == "context_length_exceeded"
    assert "500" in refused["error"]["message"]
    assert str(len("be kind") + 300 + 2 + 300) in refused["error"]["message"]
    assert (await say(gateway, within, "x" * 300))["status"] == "completed"


async def test_the_answer_is_bounded_by_what_is_left(gateway: Replica, within: str) -> None:
    gateway.engine.size = 1000
    await say(gateway, within, "x" * 600, max_output_tokens=900)
    assert gateway.engine.asked[-1][1].max_output_tokens == 1000 - 600 - len("be kind")
    await say(gateway, within, max_output_tokens=9)
    assert gateway.engine.asked[-1][1].max_output_tokens == 9


async def test_no_prompt_is_above_the_context_and_none_wastes_more_than_a_turn(gateway: Replica, within: str) -> None:
    gateway.engine.size = 1000
    gateway.engine.events = spoken("a" * 50)
    sizes = [50, 200, 30, 400, 10, 120, 333, 60, 500, 20, 90]
    for number, size in enumerate(sizes):
        await say(gateway, within, "u" * size)
        sent = sum(len(text.encode()) for text in gateway.engine.texts)
        assert sent < 1000
        left_out = number - gateway.engine.texts.count("a" * 50)
        if left_out:
            assert sent + sizes[left_out - 1] + 50 > 1000 - 256


async def test_items_beyond_those_that_are_read_are_left_out_too(port: int) -> None:
    async with replica(port) as gateway:
        within = (await Conversations(gateway.redis).create("user_1", {})).id
        for _ in range(RECENT_ITEMS // 2 + 2):
            await say(gateway, within)
        window = (await say(gateway, within))["window"]
        assert window["items_left_out"] >= 4
        assert len(gateway.engine.texts) <= RECENT_ITEMS + 2


async def test_an_engine_that_cannot_count_gets_everything_and_nothing_is_claimed(port: int) -> None:
    class Silent(FakeEngine):
        async def limit(self) -> int | None:
            return None

        async def count(self, *_: object, **__: object) -> None:
            return None

    async with replica(port, Silent()) as gateway:
        within = (await Conversations(gateway.redis).create("user_1", {})).id
        window = (await say(gateway, within, "x" * 9000))["window"]
        assert window == {"items_left_out": 0, "input_tokens": 9007, "context_tokens": None}
