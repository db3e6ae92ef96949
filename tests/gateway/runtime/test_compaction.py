"""A long conversation becomes the user's messages and one encrypted summary."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.errors import ContextLengthExceeded, EngineFailed, InvalidRequest, ModelNotFound, PreviousResponseNotFound
from gateway.inference import Finished
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_response_id
from gateway.protocol.input_items import (
    InputCompaction,
    InputFunctionCall,
    InputFunctionCallOutput,
    InputMessage,
    normalize_input_items,
)
from gateway.protocol.items import Compaction, Message
from gateway.protocol.json_objects import convert
from gateway.protocol.requests import CompactRequest, ItemsCreate
from gateway.protocol.resources import CompactedResponse, encoded
from gateway.runtime.user_encryption import UserEncryption
from gateway.store.history.conversations import Conversations
from gateway.turn.limits import RECENT_ITEMS
from tests.contract import conformance
from tests.gateway.replica import ENCRYPTION, FakeEngine, Replica, replica, text_stream

CONVERSATION = (
    InputMessage("user", "My name is Alice."),
    InputMessage("assistant", "Hello Alice!"),
    InputMessage("user", "I live in a lighthouse."),
)


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("Alice lives in a lighthouse.", "length"))) as found:
        yield found


async def compact(gateway: Replica, user: str = "user_1", **fields: Any) -> CompactedResponse:
    return await gateway.compaction.compact(
        user, CompactRequest(**({"model": "parley-demo", "input": CONVERSATION} | fields))
    )


async def test_the_result_conforms_to_the_specification(gateway: Replica) -> None:
    wire = json.loads(encoded(await compact(gateway)))
    conformance.compaction(wire)
    assert wire["object"] == "response.compaction"
    assert [item["type"] for item in wire["output"]] == ["message", "message", "compaction"]


async def test_the_users_messages_remain_and_one_encrypted_item_replaces_the_rest(gateway: Replica) -> None:
    *messages, compaction = (await compact(gateway)).output
    assert [item.text for item in messages if isinstance(item, Message)] == [
        "My name is Alice.",
        "I live in a lighthouse.",
    ]
    assert isinstance(compaction, Compaction)
    assert "lighthouse" not in compaction.encrypted_content
    assert "Alice lives in a lighthouse." in ENCRYPTION.decrypt("user_1", compaction.encrypted_content)


async def test_a_new_chain_can_begin_with_the_unchanged_result(gateway: Replica) -> None:
    output = json.loads(encoded(await compact(gateway)))["output"]
    items = convert({"items": normalize_input_items(output, "items")}, ItemsCreate).items
    await gateway.run_turn(ResponseCreate(input=(*items, InputMessage("user", "Who am I?"))))
    assert any("Alice lives in a lighthouse." in text for text in gateway.engine.prompt_texts)
    assert gateway.engine.prompt_texts[-1] == "Who am I?"


async def test_a_previous_response_is_compacted_together_with_new_input(gateway: Replica) -> None:
    first = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    *messages, _ = (await compact(gateway, previous_response_id=first, input="two")).output
    assert [item.text for item in messages if isinstance(item, Message)] == ["one", "two"]
    assert "one" in gateway.engine.prompt_texts[0]


async def test_an_output_whose_call_was_deleted_is_left_out_of_the_prompt(gateway: Replica) -> None:
    conversation_id = await gateway.create_conversation()
    call = InputFunctionCall("call_1", "add", "{}")
    create = ResponseCreate(input=(call, InputFunctionCallOutput("call_1", "2")), conversation=conversation_id)
    response_id = (await gateway.run_turn(create))[-1]["response"]["id"]
    items = Conversations(gateway.redis).items
    stored = (await items.page("user_1", conversation_id, limit=1, after=None, order="asc")).data
    await items.delete("user_1", conversation_id, stored[0].id)
    await compact(gateway, previous_response_id=response_id, input=None)
    assert [message.role for message in gateway.engine.prompt_calls[-1].prompt] == ["assistant", "user"]


async def test_the_prompt_asks_for_a_summary_and_ends_with_the_clients_instructions(gateway: Replica) -> None:
    await compact(gateway, instructions="Mention the weather.")
    assert gateway.engine.prompt_texts[0] == "My name is Alice."
    assert "Summarise" in gateway.engine.prompt_texts[-1]
    assert gateway.engine.prompt_texts[-1].endswith("Mention the weather.")


async def test_its_tokens_are_recorded_as_usage(gateway: Replica) -> None:
    result = await compact(gateway)
    assert gateway.usage.added == [("user_1", result.usage)]
    assert result.usage.output_tokens == len("Alice lives in a lighthouse.")


async def test_a_second_compaction_includes_the_first(gateway: Replica) -> None:
    compaction = InputCompaction(ENCRYPTION.encrypt("user_1", "Alice is a keeper."))
    await compact(gateway, input=(compaction, *CONVERSATION))
    assert "Alice is a keeper." in gateway.engine.prompt_texts[0]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"model": "gpt-9"}, ModelNotFound),
        ({"input": None}, InvalidRequest),
        ({"input": ()}, InvalidRequest),
        ({"previous_response_id": new_response_id()}, PreviousResponseNotFound),
        ({"previous_response_id": "x:y"}, PreviousResponseNotFound),
        ({"input": (InputCompaction("x"),)}, InvalidRequest),
        ({"input": (InputCompaction(UserEncryption(b"o" * 32).encrypt("user_1", "x")),)}, InvalidRequest),
    ],
)
async def test_an_invalid_request_is_refused_without_a_call_to_the_engine(
    gateway: Replica, fields: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await compact(gateway, **fields)
    assert gateway.engine.prompt_calls == []


@pytest.mark.parametrize(
    "ciphertext",
    ["garbage", "\ud800", UserEncryption(b"o" * 32).encrypt("user_1", "x"), ENCRYPTION.encrypt("user_2", "x")],
    ids=["garbage", "half a character", "from another server", "for another user"],
)
async def test_a_compaction_that_this_user_cannot_decrypt_is_refused_before_it_is_stored(
    gateway: Replica, ciphertext: str
) -> None:
    mine = InputCompaction(ENCRYPTION.encrypt("user_1", "x"))
    gateway.compaction.check_readable("user_1", (*CONVERSATION, mine))
    with pytest.raises(InvalidRequest) as caught:
        gateway.compaction.check_readable("user_1", (mine, InputCompaction(ciphertext)))
    assert (caught.value.code, caught.value.param) == ("invalid_value", "items[1].encrypted_content")


async def test_all_of_a_long_chain_is_compacted(gateway: Replica) -> None:
    gateway.engine.context_tokens = 131_072
    long = tuple(InputMessage("user", f"{number}") for number in range(2 * RECENT_ITEMS))
    first = (await gateway.run_turn(ResponseCreate(input=long)))[-1]["response"]["id"]
    *messages, _ = (await compact(gateway, previous_response_id=first, input=None)).output
    assert [item.text for item in messages if isinstance(item, Message)] == [message.text for message in long]


async def test_another_users_response_is_refused_like_an_absent_one(gateway: Replica) -> None:
    first = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    with pytest.raises(PreviousResponseNotFound):
        await compact(gateway, user="user_2", previous_response_id=first)


@pytest.mark.parametrize("text", ["", " \n"])
async def test_an_empty_summary_is_an_engine_failure(gateway: Replica, text: str) -> None:
    gateway.engine.events = text_stream(text) if text else (Finished("length"),)
    with pytest.raises(EngineFailed, match="no summary"):
        await compact(gateway)


async def test_a_small_context_bounds_the_length_of_the_summary(gateway: Replica) -> None:
    gateway.engine.context_tokens = 700
    await compact(gateway)
    call = gateway.engine.prompt_calls[-1]
    used = sum(len(prompt.text) for prompt in call.prompt)
    assert call.sampling.max_output_tokens is not None
    assert used + call.sampling.max_output_tokens <= 700


async def test_the_oldest_exchanges_of_a_too_long_input_are_left_out(gateway: Replica) -> None:
    gateway.engine.context_tokens = 3000
    messages = [InputMessage("user" if n % 2 == 0 else "assistant", f"{n}" * 100) for n in range(40)]
    await compact(gateway, input=tuple(messages))
    assert gateway.engine.prompt_texts[-2] == "39" * 100
    assert "0" * 100 not in gateway.engine.prompt_texts


async def test_input_that_leaves_nothing_to_summarise_is_refused(gateway: Replica) -> None:
    gateway.engine.context_tokens = 1000
    with pytest.raises(ContextLengthExceeded):
        await compact(gateway, input="x" * 5000)
    assert gateway.engine.prompt_calls == []
