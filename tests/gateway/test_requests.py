import json

import pytest

from gateway.errors import InvalidRequest, NotFound, ParleyError, UnsupportedParameter
from gateway.protocol.requests import (
    ResponseCancel,
    ResponseCreate,
    decode_client_event,
    decode_conversation_create,
)

CONVERSATION = "conv_0123456789abcdef0123456789abcdef"


def decode(**fields: object) -> ResponseCreate:
    event = decode_client_event(json.dumps({"type": "response.create", "input": "hi", **fields}))
    assert isinstance(event, ResponseCreate)
    return event


def refused(text: str) -> ParleyError:
    with pytest.raises(ParleyError) as caught:
        decode_client_event(text)
    return caught.value


def test_a_create_carries_what_the_client_said() -> None:
    event = decode(conversation=CONVERSATION, temperature=0, top_p=0.5, max_output_tokens=7, metadata={"a": "b"})
    assert event.conversation_id == CONVERSATION
    assert (event.temperature, event.top_p, event.max_output_tokens) == (0, 0.5, 7)
    assert [(one.role, one.text) for one in event.messages] == [("user", "hi")]


def test_input_may_be_a_list_of_messages_with_parts() -> None:
    parts = [{"type": "input_text", "text": "one "}, {"type": "input_text", "text": "two"}]
    event = decode(input=[{"type": "message", "role": "user", "content": parts}, {"role": "user", "content": "three"}])
    assert [one.text for one in event.messages] == ["one two", "three"]


def test_a_conversation_may_be_given_as_an_object() -> None:
    assert decode(conversation={"id": CONVERSATION}).conversation_id == CONVERSATION


def test_a_cancel_names_a_response() -> None:
    event = decode_client_event('{"type":"response.cancel","response_id":"resp_1"}')
    assert event == ResponseCancel("resp_1")


@pytest.mark.parametrize("text", ["", "hello", "{", "[1]", "null", '"x"', "NaN", '{"a":NaN}', "1e400", "[" * 10_000])
def test_what_is_not_a_json_object_is_named_as_such(text: str) -> None:
    assert refused(text).code == "invalid_json"


def test_a_lone_surrogate_is_refused() -> None:
    assert isinstance(refused('{"type":"response.create","input":"\\ud800"}'), InvalidRequest)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"chat_template": "x"}, "chat_template", "unknown_parameter"),
        ({"priority": 1}, "priority", "unknown_parameter"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"temperature": 2.5}, "temperature", "invalid_value"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"max_output_tokens": True}, "max_output_tokens", "invalid_value"),
        ({"metadata": {"k": 1}}, "metadata[...]", "invalid_value"),
        ({"input": 5}, "input", "invalid_value"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[...].role", "invalid_value"),
        ({"input": [{"role": "user", "content": "x", "name": "y"}]}, "input[...].name", "unknown_parameter"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[...].content[...].type", None),
        ({"store": True}, "store", "invalid_request"),
        ({"store": False, "conversation": CONVERSATION}, "store", "invalid_request"),
        ({"truncation": "some"}, "truncation", "invalid_value"),
        ({"input": "  \n"}, "input", "invalid_request"),
        ({"input": []}, "input", "invalid_request"),
    ],
)
def test_a_field_at_fault_is_named(fields: dict[str, object], param: str, code: str | None) -> None:
    error = refused(json.dumps({"type": "response.create", "input": "hi", **fields}))
    assert error.param is not None
    assert error.param.replace("[0]", "[...]") == param
    if code is not None:
        assert error.code == code


def test_input_is_required() -> None:
    assert "input" in refused('{"type":"response.create"}').message


@pytest.mark.parametrize(
    "fields", [{"tools": [{"type": "function"}]}, {"background": True}, {"stream": 1}, {"top_logprobs": 3}]
)
def test_what_is_not_supported_is_refused_and_never_dropped(fields: dict[str, object]) -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        decode(**fields)
    assert caught.value.param == next(iter(fields))


def test_neutral_values_that_sdks_send_are_accepted() -> None:
    assert decode(tools=[], tool_choice="auto", parallel_tool_calls=True, stream=True, background=False)


@pytest.mark.parametrize("given", ["conv_../x", "conv_a:b", "conv_*", "conv_\r\n", "resp_1", "x"])
def test_an_id_that_we_never_made_answers_as_an_absent_one(given: str) -> None:
    with pytest.raises(NotFound):
        decode(conversation=given)


@pytest.mark.parametrize("kind", ["response.steer", "session.update", None, 5])
def test_an_unknown_event_is_refused_by_name(kind: object) -> None:
    assert refused(json.dumps({"type": kind})).param == "type"


def test_a_conversation_may_be_made_from_an_empty_body() -> None:
    assert decode_conversation_create(b"").metadata is None


def test_metadata_is_bounded_as_openai_bounds_it() -> None:
    too_many = json.dumps({"metadata": {str(number): "x" for number in range(17)}}).encode()
    with pytest.raises(InvalidRequest):
        decode_conversation_create(too_many)
