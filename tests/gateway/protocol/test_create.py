"""`gateway.protocol.create`, the options of `gateway.protocol.tools` and the bounds of `gateway.protocol.limits`."""

from typing import Any, Literal

import pytest
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from gateway.context.defaults import output_options
from gateway.errors import InvalidRequest, NotFound, ParleyError, PreviousResponseNotFound, UnsupportedParameter
from gateway.protocol.create import NEUTRAL, ResponseCreate, decode_create
from gateway.protocol.ids import new_response_id
from gateway.protocol.input_items import InputMessage
from gateway.protocol.tools import AllowedTools, FunctionChoice, JsonObject, JsonSchema, PlainText

CONVERSATION = "conv_0123456789abcdef0123456789abcdef"
RESPONSE = new_response_id()
TOOL: dict[str, Any] = {"type": "function", "name": "add"}

Transport = Literal["http", "websocket"]


def decode(transport: Transport = "http", /, **fields: Any) -> ResponseCreate:
    return decode_create({"input": "hi", **fields}, transport=transport)


def refused(transport: Transport = "http", /, **fields: Any) -> ParleyError:
    with pytest.raises(ParleyError) as caught:
        decode(transport, **fields)
    return caught.value


def test_a_create_has_the_fields_that_the_client_sent() -> None:
    create = decode(conversation=CONVERSATION, temperature=0, top_p=0.5, max_output_tokens=7, metadata={"a": "b"})
    assert create.conversation_id == CONVERSATION
    assert (create.temperature, create.top_p, create.max_output_tokens, create.metadata) == (0, 0.5, 7, {"a": "b"})
    assert create.items == (InputMessage(role="user", content="hi"),)


def test_input_may_be_a_list_of_items_of_every_kind() -> None:
    parts = [{"type": "input_text", "text": "one "}, {"type": "input_text", "text": "two"}]
    create = decode(
        input=[
            {"type": "message", "role": "user", "content": parts},
            {"role": "assistant", "content": "three", "phase": "commentary"},
            {"type": "function_call", "call_id": "c", "name": "add", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "2"},
            {"type": "reasoning", "summary": []},
            {"type": "compaction", "encrypted_content": "x"},
        ]
    )
    assert [item.text for item in create.items if isinstance(item, InputMessage)] == ["one two", "three"]
    assert len(create.items) == 6


def test_a_conversation_may_be_given_as_an_object() -> None:
    assert decode(conversation={"id": CONVERSATION}).conversation_id == CONVERSATION


@pytest.mark.parametrize(("store", "stored"), [({}, True), ({"store": None}, True), ({"store": False}, False)])
def test_a_response_is_stored_by_default(store: dict[str, Any], stored: bool) -> None:
    assert decode(**store).stored is stored


def test_options_of_the_output_are_decoded() -> None:
    create = decode(
        tools=[{**TOOL, "description": "adds", "parameters": {"type": "object"}, "strict": True}],
        tool_choice={"type": "allowed_tools", "tools": [TOOL]},
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        reasoning={"effort": "low"},
    )
    assert create.tools is not None
    assert create.tools[0].parameters == {"type": "object"}
    assert create.tool_choice == AllowedTools((FunctionChoice("add"),), "auto")
    assert create.text is not None
    assert create.text.format == JsonSchema("n", {"type": "object"})


@pytest.mark.parametrize(
    ("format_", "read"), [({"type": "text"}, PlainText()), ({"type": "json_object"}, JsonObject())]
)
def test_the_format_of_the_text_is_decoded(format_: dict[str, str], read: object) -> None:
    create = decode(text={"format": format_})
    assert create.text is not None
    assert create.text.format == read


NEUTRAL_VALUES = [(name, value) for name, values in NEUTRAL.items() for value in values]


@pytest.mark.parametrize(("name", "value"), NEUTRAL_VALUES)
def test_neutral_values_that_sdks_send_are_accepted(name: str, value: object) -> None:
    assert decode(**{name: value}) == decode()


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_every_reasoning_effort_of_a_chat_completion_is_accepted(effort: str) -> None:
    reasoning = decode(reasoning={"effort": effort}).reasoning
    assert reasoning is not None
    assert reasoning.effort == effort


def test_a_user_name_is_accepted() -> None:
    assert decode(user="u1").user == "u1"


NULLABLE = set(ResponseCreate.__struct_fields__) - {"input", "stream_id", "generate", "repetition_penalty"}


@pytest.mark.parametrize("name", sorted(NULLABLE))
def test_null_counts_as_absent(name: str) -> None:
    assert decode(**{name: None}) == decode()


# Known to the stock SDK and meaningless here: refused as unknown. A new SDK may have more: decide, then add it.
REFUSED = {"access_programs", "background_options", "image"}


def test_every_field_of_the_stock_sdk_is_supported_neutral_or_refused() -> None:
    sent = set(ResponseCreateParamsBase.__annotations__)
    assert sent - set(NEUTRAL) - set(ResponseCreate.__struct_fields__) == REFUSED


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"chat_template": "x"}, "chat_template", "unknown_parameter"),
        ({"priority": 1}, "priority", "unknown_parameter"),
        ({"cache_salt": "x"}, "cache_salt", "unknown_parameter"),
        ({"n": 2}, "n", "unknown_parameter"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"temperature": 2.5}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"presence_penalty": -2.1}, "presence_penalty", "invalid_value"),
        ({"repetition_penalty": 0}, "repetition_penalty", "invalid_value"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"max_output_tokens": True}, "max_output_tokens", "invalid_value"),
        ({"max_output_tokens": 1.5}, "max_output_tokens", "invalid_value"),
        ({"metadata": {"k": 1}}, "metadata[...]", "invalid_value"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata", "invalid_value"),
        ({"metadata": {"k": "x" * 513}}, "metadata[...]", "invalid_value"),
        ({"input": 5}, "input", "invalid_value"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user", "content": "x", "name": "y"}]}, "input[0].name", "unknown_parameter"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content[0]",
            "unsupported_content",
        ),
        ({"truncation": "some"}, "truncation", "invalid_value"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}},
            "text.format.name",
            "invalid_value",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "invalid_value"),
        ({"tools": [TOOL] * 129}, "tools", "invalid_value"),
        ({"tool_choice": "always"}, "tool_choice", "invalid_value"),
        ({"reasoning": {"effort": "most"}}, "reasoning.effort", "invalid_value"),
        ({"input": "  \n"}, "input", "invalid_request"),
        ({"input": []}, "input", "invalid_request"),
        ({"input": [{"role": "user", "content": " "}]}, "input", "invalid_request"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input", "invalid_request"),
        ({"stream": 1}, "stream", "invalid_value"),
    ],
)
def test_an_invalid_field_is_named(fields: dict[str, Any], param: str, code: str) -> None:
    error = refused(**fields)
    assert (error.param, error.code, error.status) == (param, code, 400)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL, {"type": "custom", "name": "x"}]}, "tools[1].type"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"prompt": {"id": "x"}}, "prompt"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
    ],
)
def test_an_unsupported_field_is_refused_and_never_ignored(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert isinstance(error, UnsupportedParameter)
    assert error.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": CONVERSATION, "previous_response_id": RESPONSE}, "previous_response_id"),
        ({"store": False, "conversation": CONVERSATION}, "store"),
        ({"store": False, "background": True}, "store"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "sub"}, "tools": [TOOL]}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "x"}]}}, "tool_choice"),
    ],
)
def test_contradicting_fields_are_refused(fields: dict[str, Any], param: str) -> None:
    error = refused(**fields)
    assert isinstance(error, InvalidRequest)
    assert (error.param, error.code) == (param, "invalid_request")


@pytest.mark.parametrize(
    ("transport", "fields", "param"),
    [
        ("websocket", {"background": True}, "background"),
        ("websocket", {"stream": False}, "stream"),
        ("http", {"stream_id": "x"}, "stream_id"),
        ("http", {"generate": False}, "generate"),
    ],
)
def test_fields_of_the_other_transport_are_refused(transport: Transport, fields: dict[str, Any], param: str) -> None:
    error = refused(transport, **fields)
    assert isinstance(error, UnsupportedParameter)
    assert error.param == param


@pytest.mark.parametrize(
    ("transport", "fields"),
    [
        ("websocket", {"stream": True, "background": False, "stream_id": "x"}),
        ("websocket", {"generate": False, "input": []}),
        ("http", {"stream": True}),
        ("http", {"stream": False, "background": True, "generate": True}),
    ],
)
def test_fields_of_the_same_transport_are_accepted(transport: Transport, fields: dict[str, Any]) -> None:
    assert decode(transport, **fields)


def test_a_warm_up_needs_no_input() -> None:
    assert decode_create({"generate": False}, transport="websocket").items == ()


def test_input_is_required_otherwise() -> None:
    with pytest.raises(InvalidRequest, match="input"):
        decode_create({}, transport="http")


@pytest.mark.parametrize("given", ["conv_../x", "conv_a:b", "conv_*", "conv_\r\n", "conv_", "resp_1", "x", ""])
def test_a_malformed_id_is_reported_as_an_absent_one(given: str) -> None:
    assert isinstance(refused(conversation=given), NotFound)
    assert isinstance(refused(previous_response_id=given.replace("resp", "conv")), PreviousResponseNotFound)


def test_an_overlong_id_is_refused() -> None:
    assert refused(conversation="conv_" + "a" * 100).code == "invalid_value"


def test_a_warm_up_may_have_a_null_input() -> None:
    assert decode("websocket", input=None, generate=False).items == ()


def test_a_null_format_is_the_default_one() -> None:
    assert output_options(decode(text={"format": None})) == output_options(decode())
