"""Tests of the conformance checks: each refuses what a lenient reader would accept."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tests.contract import conformance
from tests.contract.conformance import Wire

RESPONSE: Wire = json.loads("""{
    "id": "resp_1", "object": "response", "created_at": 1, "completed_at": 2, "status": "completed", "model": "m",
    "incomplete_details": null, "error": null, "previous_response_id": null, "instructions": null, "usage": null,
    "output": [{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "hello", "annotations": [], "logprobs": []}]}],
    "tools": [], "tool_choice": "auto", "parallel_tool_calls": true, "max_tool_calls": null, "truncation": "auto",
    "text": {"format": {"type": "text"}}, "reasoning": null, "temperature": 1, "top_p": 1, "top_logprobs": 0,
    "presence_penalty": 0, "frequency_penalty": 0.5, "max_output_tokens": null, "store": true, "background": false,
    "service_tier": "default", "metadata": {}, "safety_identifier": null, "prompt_cache_key": null
}""")
PART: Wire = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
PLACE: Wire = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def answer() -> list[Wire]:
    begun = {**RESPONSE, "status": "in_progress", "output": [], "completed_at": None}
    said = RESPONSE["output"][0]
    events: list[Wire] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**said, "content": []}},
        {"type": "response.content_part.added", **PLACE, "part": PART},
        {"type": "response.output_text.delta", **PLACE, "delta": "hel", "logprobs": []},
        {"type": "response.output_text.delta", **PLACE, "delta": "lo", "logprobs": []},
        {"type": "response.output_text.done", **PLACE, "text": "hello", "logprobs": []},
        {"type": "response.content_part.done", **PLACE, "part": {**PART, "text": "hello"}},
        {"type": "response.output_item.done", "output_index": 0, "item": said},
        {"type": "response.completed", "response": RESPONSE},
    ]
    return [{**one, "sequence_number": number} for number, one in enumerate(events)]


def test_a_complete_answer_conforms() -> None:
    assert conformance.story(answer()) == RESPONSE


def test_the_resource_has_31_keys() -> None:
    assert len(conformance.RESPONSE_KEYS) == 31


@pytest.mark.parametrize("key", sorted(conformance.RESPONSE_KEYS))
def test_a_resource_without_one_of_its_keys_is_refused(key: str) -> None:
    with pytest.raises((ValidationError, KeyError)):
        conformance.response({name: value for name, value in RESPONSE.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [
        {"created_at": "1"},
        {"created_at": 1.5},
        {"store": 1},
        {"service_tier": None},
        {"incomplete_details": {}},
        {"reasoning": {"effort": "low"}},
        {"usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}},
        {"tools": [{"type": "function", "name": "f", "parameters": None, "strict": None}]},
    ],
)
def test_a_value_of_another_type_is_refused(change: Wire) -> None:
    with pytest.raises(ValidationError):
        conformance.response({**RESPONSE, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"text": {"format": {"type": "text"}, "verbosity": None}},
        {"output": [{**RESPONSE["output"][0], "phase": None}]},
        {"output": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}]},
    ],
)
def test_null_is_refused_for_a_field_that_should_be_left_out(change: Wire) -> None:
    with pytest.raises(AssertionError, match="left out"):
        conformance.response({**RESPONSE, **change})


def swapped(events: list[Wire]) -> None:
    events[4]["delta"], events[5]["delta"] = events[5]["delta"], events[4]["delta"]


def without_its_part(events: list[Wire]) -> None:
    del events[7]
    for number, one in enumerate(events):
        one["sequence_number"] = number


def numbered_from_one(events: list[Wire]) -> None:
    for one in events:
        one["sequence_number"] += 1


def ended_twice(events: list[Wire]) -> None:
    events.append({**events[-1], "sequence_number": len(events)})


def with_another_ending(events: list[Wire]) -> None:
    events[-1] = {**events[-1], "response": {**RESPONSE, "output": []}}


@pytest.mark.parametrize("spoil", [swapped, without_its_part, numbered_from_one, ended_twice, with_another_ending])
def test_an_inconsistent_story_is_refused(spoil: Callable[[list[Wire]], Any]) -> None:
    events = answer()
    spoil(events)
    with pytest.raises(AssertionError):
        conformance.story(events)


def test_an_error_without_its_status_is_refused() -> None:
    error = {"type": "not_found", "code": "not_found", "message": "no such thing", "param": None}
    assert conformance.refusal({"type": "error", "status": 404, "error": error}).code == "not_found"
    with pytest.raises(ValidationError):
        conformance.refusal({"type": "error", "error": error})
