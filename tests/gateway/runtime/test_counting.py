"""How long a prompt would be: what an answer to it then costs."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import EngineRefused, InvalidRequest, ModelNotFound, ParleyError
from gateway.protocol.input_items import InputMessage
from gateway.protocol.requests import decode_count, decode_create_body
from gateway.protocol.resources import InputTokens
from gateway.runtime.counting import TokenCounter
from gateway.store.history.conversations import Conversations
from gateway.turn.limits import RECENT_ITEMS
from tests.gateway.replica import FakeEngine, Replica, replica


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port) as found:
        yield found


async def counted(gateway: Replica, **asked: Any) -> InputTokens:
    create = decode_count(json.dumps(asked).encode())
    return await TokenCounter(gateway.engine, gateway.preparation).count("user_1", create)


@pytest.mark.parametrize("asked", [{"input": "hello"}, {"input": "hello", "instructions": "be brief"}, {"input": []}])
async def test_the_count_equals_the_input_tokens_of_an_answer(gateway: Replica, asked: dict[str, Any]) -> None:
    said = await counted(gateway, **asked)
    assert (said.object, gateway.engine.prompt_calls) == ("response.input_tokens", [])
    create = decode_create_body(json.dumps(asked | {"input": asked["input"] or "."}).encode())
    usage = (await gateway.run_turn(create))[-1]["response"]["usage"]
    assert usage["input_tokens"] == said.input_tokens + (not asked["input"])


async def test_a_whole_conversation_is_counted_and_nothing_is_added_to_it(gateway: Replica) -> None:
    gateway.engine.context_tokens = 500
    items = [InputMessage("user", "x"), InputMessage("assistant", "y")] * RECENT_ITEMS
    within = (await Conversations(gateway.redis).create("user_1", {}, items=items)).id
    for _ in range(2):
        assert await counted(gateway, conversation=within, input="hello") == InputTokens(
            len("be kind") + len(items) + len("hello")
        )


async def test_an_engine_that_cannot_count_is_an_error(port: int) -> None:
    class Silent(FakeEngine):
        async def tokenize(self, *_: object, **__: object) -> None:
            return None

    async with replica(port, Silent()) as gateway:
        with pytest.raises(EngineRefused):
            await counted(gateway, input="hello")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"model": "gpt-9"}, ModelNotFound),
        ({"temperature": 1}, InvalidRequest),
        ({"stream": True}, InvalidRequest),
        ({"personality": "friendly"}, InvalidRequest),
        ({"conversation": "conv_x", "previous_response_id": "resp_x"}, InvalidRequest),
    ],
)
async def test_parameters_that_are_no_part_of_a_prompt_are_refused(
    gateway: Replica, asked: dict[str, Any], error: type[ParleyError]
) -> None:
    with pytest.raises(error):
        await counted(gateway, input="hello", **asked)
