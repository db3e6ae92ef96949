"""`gateway.protocol.input_items`, and what they become: `gateway.protocol.items`."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response

from gateway.errors import InvalidRequest, ParleyError, UnsupportedContent
from gateway.inference import ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol.ids import position_in
from gateway.protocol.input_items import InputItem, normalize_input_items
from gateway.protocol.items import (
    Compaction,
    FunctionCall,
    FunctionCallOutput,
    Message,
    Reasoning,
    decode_item,
    encode_item,
)
from gateway.protocol.json_objects import convert
from gateway.protocol.requests import ItemsCreate
from gateway.turn.state_machine import Completed, Created
from tests.gateway.builders import turn, wires

TEXT = {"type": "input_text", "text": "hi"}
MESSAGE = {"type": "message", "role": "user", "content": "hi"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "2"}
REASONING = {"type": "reasoning", "summary": []}
COMPACTION = {"type": "compaction", "encrypted_content": "x"}
ITEMS: list[dict[str, Any]] = [MESSAGE, CALL, RESULT, REASONING, COMPACTION]


def read(*items: Any) -> tuple[InputItem, ...]:
    return convert({"items": normalize_input_items(list(items), "items")}, ItemsCreate).items


def refused(item: Any) -> ParleyError:
    with pytest.raises(ParleyError) as caught:
        read(MESSAGE, item)
    return caught.value


@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("more", [{}, {"id": None}, {"id": "any_1"}])
def test_an_item_gets_a_new_id_with_its_position(item: dict[str, Any], more: dict[str, Any]) -> None:
    (made,) = read({**item, **more})
    at = made.at(300)
    assert position_in(at.id) == 300
    assert at.id != more.get("id") != made.at(300).id != at.id


@given(st.sampled_from(ITEMS), st.integers(0, 2**32 - 1))
def test_an_item_is_stored_and_loaded_unchanged(item: dict[str, Any], position: int) -> None:
    at = read(item)[0].at(position)
    assert decode_item(encode_item(at)) == at


def test_a_message_may_be_text_or_parts_and_omit_its_type() -> None:
    texts = [one.text for one in read(MESSAGE, {"role": "user", "content": [TEXT, TEXT]}) if hasattr(one, "text")]
    assert texts == ["hi", "hihi"]


@pytest.mark.parametrize(
    ("role", "kind"), [("user", "InputText"), ("developer", "InputText"), ("assistant", "OutputText")]
)
def test_the_role_determines_the_type_of_the_part(role: str, kind: str) -> None:
    at = read({"role": role, "content": [TEXT]})[0].at(1)
    assert isinstance(at, Message)
    assert (at.role, at.status, [type(part).__name__ for part in at.content]) == (role, "completed", [kind])


@pytest.mark.parametrize("phase", ["commentary", "final_answer"])
def test_a_phase_is_kept_and_a_missing_one_is_omitted(phase: str) -> None:
    (with_phase, null, without) = read(*({**MESSAGE, **one} for one in ({"phase": phase}, {"phase": None}, {})))
    assert f'"phase":"{phase}"'.encode() in encode_item(with_phase.at(1))
    assert b"phase" not in encode_item(null.at(1)) + encode_item(without.at(1))


def test_a_call_and_its_result_keep_their_call_id() -> None:
    call, result = (one.at(1) for one in read(CALL, {**RESULT, "output": [TEXT, TEXT]}))
    assert isinstance(call, FunctionCall)
    assert isinstance(result, FunctionCallOutput)
    assert (call.call_id, call.name, call.arguments, call.status) == ("call_1", "add", "{}", "completed")
    assert (result.call_id, result.output, result.status) == ("call_1", "hihi", "completed")


def test_reasoning_and_a_compaction_keep_their_content() -> None:
    thought = {"type": "reasoning_text", "text": "hm"}
    reasoning, sealed = (one.at(1) for one in read({**REASONING, "content": [thought]}, COMPACTION))
    assert isinstance(reasoning, Reasoning)
    assert isinstance(sealed, Compaction)
    assert [part.text for part in reasoning.content] == ["hm"]
    assert sealed.encrypted_content == "x"


def answered() -> list[dict[str, Any]]:
    """The output of an answer of ours, as the stock SDK gives it to its user."""
    of = turn()
    steps = (Created(), ReasoningTextDelta("hm"), TextDelta("so"), ToolCallDelta(0, "{}", "add"), Completed(None, 1))
    last = [event for step in steps for event in wires(of.step(step))][-1]
    return [last["response"]]


def test_output_items_may_be_sent_back_as_the_stock_sdk_sends_them() -> None:
    (response,) = answered()
    items = [item.model_dump(mode="json", exclude_unset=True) for item in Response.construct(**response).output]
    assert len(read(*items)) == 3
    assert len(read(*response["output"])) == 3


def test_output_items_may_be_sent_back_with_the_sdks_null_fields() -> None:
    (response,) = answered()
    assert len(read(*(item.model_dump(mode="json") for item in Response.construct(**response).output))) == 3


def test_a_part_of_an_earlier_response_may_have_null_fields() -> None:
    part: dict[str, Any] = {"type": "output_text", "text": "hi", "annotations": [], "logprobs": None}
    assert len(read({"role": "assistant", "content": [part]})) == 1


@pytest.mark.parametrize(
    ("item", "kind", "param"),
    [
        ({"role": "user", "content": [TEXT, {"type": "input_image", "image_url": "x"}]}, "input_image", "content[1]"),
        ({"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}, "input_file", "content[0]"),
        ({**RESULT, "output": [{"type": "input_image"}]}, "input_image", "output[0]"),
    ],
)
def test_content_other_than_text_is_refused_with_its_path(item: dict[str, Any], kind: str, param: str) -> None:
    error = refused(item)
    assert isinstance(error, UnsupportedContent)
    assert error.param == f"items[1].{param}"
    assert kind in error.message


@pytest.mark.parametrize("kind", ["item_reference", "web_search_call", "computer_call", "x"])
def test_an_item_of_another_type_is_refused_by_name(kind: str) -> None:
    error = refused({"type": kind, "id": "x"})
    assert isinstance(error, UnsupportedContent)
    assert (error.param, kind in error.message) == ("items[1]", True)


@pytest.mark.parametrize(
    "item",
    [
        5, "hi", None, [], {}, {"content": "hi"}, {"role": "robot", "content": "x"}, {"role": "user"},
        {"role": "user", "content": None}, {"role": "user", "content": 5}, {"role": "user", "content": ["hi"]},
        {"role": "user", "content": [{"text": "hi"}]}, {"role": "user", "content": [{"type": 5, "text": "hi"}]},
        {**MESSAGE, "name": "x"}, {**MESSAGE, "type": 5}, {**MESSAGE, "phase": "other"}, {**MESSAGE, "id": "x" * 81},
        {**CALL, "call_id": None}, {**CALL, "arguments": {}}, {**RESULT, "output": None}, {**RESULT, "call_id": 5},
        {**REASONING, "summary": ["x"]}, {**COMPACTION, "encrypted_content": None},
    ],
)  # fmt: skip
def test_a_malformed_item_is_refused_as_such(item: Any) -> None:
    error = refused(item)
    assert isinstance(error, InvalidRequest)
    assert error.param is not None
    assert error.param.startswith("items")
