import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest, NotFound, ParleyError
from gateway.protocol.create import ResponseCreate
from gateway.protocol.requests import (
    ClientFrame,
    ResponseCancel,
    decode_compact,
    decode_conversation_create,
    decode_conversation_update,
    decode_create_body,
    decode_items_create,
)
from gateway.protocol.resources import Generation

MESSAGE = {"role": "user", "content": "hi"}


def body(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def refused(text: str) -> ParleyError:
    with pytest.raises(ParleyError) as caught:
        ClientFrame.read(text).event()
    return caught.value


def test_a_create_is_decoded_from_a_frame_and_from_a_body() -> None:
    event = ClientFrame.read('{"type":"response.create","input":"hi","stream_id":"s"}').event()
    assert isinstance(event, ResponseCreate)
    assert (event.input, event.stream_id) == ("hi", "s")
    assert decode_create_body(b'{"input":"hi"}').input == "hi"


def test_a_cancel_names_a_response() -> None:
    frame = ClientFrame.read('{"type":"response.cancel","response_id":"resp_1"}')
    assert frame.event() == ResponseCancel("resp_1")


def test_the_ids_of_an_invalid_frame_are_available() -> None:
    frame = ClientFrame.read(json.dumps({"type": "x", "stream_id": "s", "previous_response_id": "resp_1", "colour": 1}))
    with pytest.raises(InvalidRequest):
        frame.event()
    assert (frame.stream_id, frame.previous_response_id) == ("s", "resp_1")


@pytest.mark.parametrize("value", [None, 1, ["s"], {"s": 1}, "s" * 201])
def test_an_invalid_stream_id_is_ignored(value: object) -> None:
    assert ClientFrame({"stream_id": value}).stream_id is None


@pytest.mark.parametrize("fields", [{}, {"response_id": None}, {"response_id": "resp_1", "reason": "x"}])
def test_a_cancel_without_an_id_or_with_other_fields_is_refused(fields: dict[str, Any]) -> None:
    assert isinstance(refused(json.dumps({"type": "response.cancel", **fields})), InvalidRequest)


@pytest.mark.parametrize("text", ["", "hello", "{", "[1]", "null", '"x"', '{"type":"a","type":"b"}', "[" * 10_000])
def test_a_frame_that_is_no_json_object_is_reported_as_such(text: str) -> None:
    assert refused(text).code == "invalid_json"


@pytest.mark.parametrize("text", ['{"type":"response.create","input":"\\ud800"}', '{"type":"\ud800"}'])
def test_a_lone_surrogate_is_refused(text: str) -> None:
    assert isinstance(refused(text), InvalidRequest)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("response.steer", "unsupported"), ("session.update", "unknown_event"), ("x" * 500, "unknown_event"),
        (None, "invalid_request"), (5, "invalid_request"), (["response.create"], "invalid_request"),
    ],
)  # fmt: skip
def test_an_unknown_event_is_refused_by_name(kind: object, code: str) -> None:
    error = refused(json.dumps({"type": kind}))
    assert (error.param, error.code) == ("type", code)
    assert len(error.message) < 300


def test_an_event_without_a_type_is_refused() -> None:
    assert refused('{"input":"hi"}').param == "type"


@pytest.mark.parametrize("data", [b"", b"{}", b'{"metadata":null,"items":null,"generation":null}'])
def test_a_conversation_may_be_created_from_an_empty_body(data: bytes) -> None:
    made = decode_conversation_create(data)
    assert (made.metadata, made.items, made.generation) == (None, None, None)


def test_a_conversation_may_start_with_items_and_its_own_defaults() -> None:
    made = decode_conversation_create(body(items=[MESSAGE], generation={"temperature": 0, "instructions": "be brief"}))
    assert made.items is not None
    assert len(made.items) == 1
    assert made.generation == Generation(instructions="be brief", temperature=0)


@pytest.mark.parametrize(
    ("data", "param"),
    [
        (body(metadata={str(number): "x" for number in range(17)}), "metadata"),
        (body(metadata={"k" * 65: "x"}), "metadata"),
        (body(items=[MESSAGE] * 21), "items"),
        (body(items=[{"type": "item_reference", "id": "x"}]), "items[0]"),
        (body(generation={"temperature": 3}), "generation.temperature"),
        (body(generation={"model": "x"}), "generation.model"),
        (body(title="x"), "title"),
    ],
)
def test_an_invalid_field_of_a_conversation_is_named(data: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_conversation_create(data)
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)


def test_an_update_has_only_the_fields_that_change() -> None:
    update = decode_conversation_update(body(metadata={"title": "x"}))
    assert (update.metadata, update.generation) == ({"title": "x"}, None)
    assert decode_conversation_update(body(generation={})).generation == Generation()


@pytest.mark.parametrize("count", [0, 21])
def test_one_to_twenty_items_are_accepted_per_request(count: int) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_items_create(body(items=[MESSAGE] * count))
    assert caught.value.param == "items"
    assert len(decode_items_create(body(items=[MESSAGE] * 20)).items) == 20


def test_items_are_required() -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_items_create(b"{}")
    assert caught.value.param == "items"


def test_a_compaction_takes_text_items_or_a_response() -> None:
    assert decode_compact(body(model="m", input="hi", prompt_cache_key="k")).input == "hi"
    asked = decode_compact(body(model="m", input=[MESSAGE], instructions=None, previous_response_id=None)).input
    assert isinstance(asked, tuple)
    assert decode_compact(body(model="m", previous_response_id="resp_1", input=None)).input is None


@pytest.mark.parametrize(
    ("data", "param"), [(body(input="hi"), "model"), (body(model=None), "model"), (body(model="m", store=1), "store")]
)
def test_a_compaction_without_a_model_or_with_other_fields_is_refused(data: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_compact(data)
    assert caught.value.param == param


def test_only_the_body_of_a_new_conversation_may_be_empty() -> None:
    for decode in (decode_create_body, decode_conversation_update, decode_items_create, decode_compact):
        with pytest.raises(InvalidRequest) as caught:
            decode(b"")
        assert not isinstance(caught.value, NotFound)
        assert caught.value.code == "invalid_json"
