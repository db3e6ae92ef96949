"""The count equals the input tokens that an answer to the same prompt costs."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import ContextLengthExceeded, EngineRefused, InvalidRequest, ModelNotFound, ParleyError
from gateway.protocol.input_items import InputMessage
from gateway.protocol.requests import decode_count, decode_create_body
from gateway.protocol.resources import InputTokens
from gateway.runtime import history_loader
from gateway.runtime.counting import TokenCounter
from gateway.store.history.conversations import Conversations
from gateway.turn.limits import RECENT_ITEMS
from tests.gateway.replica import FakeEngine, Replica, replica


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port) as found:
        yield found


async def count(gateway: Replica, **fields: Any) -> InputTokens:
    create = decode_count(json.dumps(fields).encode())
    return await TokenCounter(gateway.engine, gateway.preparation).count("user_1", create)


@pytest.mark.parametrize("fields", [{"input": "hello"}, {"input": "hello", "instructions": "be brief"}, {"input": []}])
async def test_the_count_equals_the_input_tokens_of_an_answer(gateway: Replica, fields: dict[str, Any]) -> None:
    counted = await count(gateway, **fields)
    assert (counted.object, gateway.engine.prompt_calls) == ("response.input_tokens", [])
    create = decode_create_body(json.dumps(fields | {"input": fields["input"] or "."}).encode())
    usage = (await gateway.run_turn(create))[-1]["response"]["usage"]
    assert usage["input_tokens"] == counted.input_tokens + (not fields["input"])


async def test_a_whole_conversation_is_counted_and_nothing_is_added_to_it(gateway: Replica) -> None:
    gateway.engine.context_tokens = 500
    items = [InputMessage("user", "x"), InputMessage("assistant", "y")] * RECENT_ITEMS
    conversation_id = (await Conversations(gateway.redis).create("user_1", {}, items=items)).id
    for _ in range(2):
        assert await count(gateway, conversation=conversation_id, input="hello") == InputTokens(
            len("be kind") + len(items) + len("hello")
        )


async def test_more_than_a_request_reads_is_not_counted(gateway: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_loader, "MAX_READ_BYTES", 1)
    items = [InputMessage("user", "x")] * (RECENT_ITEMS + 1)
    conversation_id = (await Conversations(gateway.redis).create("user_1", {}, items=items)).id
    with pytest.raises(ContextLengthExceeded):
        await count(gateway, conversation=conversation_id, input="hello")


async def test_an_engine_that_cannot_count_is_an_error(port: int) -> None:
    class EngineWithoutTokenizer(FakeEngine):
        async def tokenize(self, *_: object, **__: object) -> None:
            return None

    async with replica(port, EngineWithoutTokenizer()) as gateway:
        with pytest.raises(EngineRefused):
            await count(gateway, input="hello")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "gpt-9"}, ModelNotFound),
        ({"temperature": 1}, InvalidRequest),
        ({"stream": True}, InvalidRequest),
        ({"personality": "friendly"}, InvalidRequest),
        ({"conversation": "conv_x", "previous_response_id": "resp_x"}, InvalidRequest),
    ],
)
async def test_parameters_that_are_no_part_of_a_prompt_are_refused(
    gateway: Replica, fields: dict[str, Any], error: type[ParleyError]
) -> None:
    with pytest.raises(error):
        await count(gateway, input="hello", **fields)
