import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent, ResponseUsage
from pydantic import TypeAdapter

from gateway.errors import EngineFailed, NotFound
from gateway.inference import OutputDelta, OutputOptions, ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol.events import Event, decode_event, frame, with_stream_id
from gateway.protocol.resources import Usage, WindowUse
from gateway.protocol.tools import AllowedTools, FunctionChoice, FunctionTool, JsonObject, JsonSchema, ReasoningConfig
from gateway.turn.state_machine import Completed, Created, Ending, Failed, Incomplete, Turn
from tests.contract import conformance
from tests.gateway.builders import Wire, answer_deltas, turn, wires

COMPLETED = Completed(Usage(5, 2, 7), 1_700_000_001)
WINDOW = WindowUse(0, 5, 4096)
DELTAS: Sequence[OutputDelta] = (
    ReasoningTextDelta("hm"),
    TextDelta("你"),
    TextDelta("好"),
    ToolCallDelta(0, "", "add"),
    ToolCallDelta(0, '{"a":1}'),
)
STOPPED = Incomplete("cancelled", Usage(5, 1, 6), stopped_in_ms=12)
ENDINGS = [
    COMPLETED,
    Completed(None, 1),
    STOPPED,
    Incomplete("max_output_tokens"),
    Failed(EngineFailed("x")),
]

# The keys of each event by section of the specification; its models check the values.
PLACE = {"type", "sequence_number", "item_id", "output_index", "content_index"}
KEYS = {
    "response.created": {"type", "sequence_number", "response"},
    "response.in_progress": {"type", "sequence_number", "response"},
    "response.output_item.added": {"type", "sequence_number", "output_index", "item"},
    "response.content_part.added": PLACE | {"part"},
    "response.output_text.delta": PLACE | {"delta", "logprobs"},
    "response.output_text.done": PLACE | {"text", "logprobs"},
    "response.reasoning_text.delta": PLACE | {"delta"},
    "response.reasoning_text.done": PLACE | {"text"},
    "response.function_call_arguments.delta": PLACE - {"content_index"} | {"delta"},
    "response.function_call_arguments.done": PLACE - {"content_index"} | {"name", "arguments"},
    "response.content_part.done": PLACE | {"part"},
    "response.output_item.done": {"type", "sequence_number", "output_index", "item"},
    "response.completed": {"type", "sequence_number", "response"},
    "response.incomplete": {"type", "sequence_number", "response"},
    "response.failed": {"type", "sequence_number", "response"},
    "error": {"type", "sequence_number", "status", "code", "message", "param", "error"},
}
NEVER_NULL = {
    "background", "frequency_penalty", "metadata", "output", "parallel_tool_calls", "presence_penalty", "service_tier",
    "store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation",
}  # fmt: skip
ADDITIONS = {"conversation", "repetition_penalty", "window"}

STOCK: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def run(*deltas: OutputDelta, ending: Ending = COMPLETED, machine: Turn | None = None) -> list[Wire]:
    machine = machine or turn()
    events: list[Event] = [event for step in (Created(), WINDOW, *deltas, ending) for event in machine.step(step)]
    return wires(events)


def types(events: list[Wire]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def with_specification_names(event: Wire) -> Wire:
    """On the wire reasoning has OpenAI's names, because stock SDKs know no others; the fields are the same."""
    return {**event, "type": event["type"].replace("reasoning_text", "reasoning")}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("deltas", [(), DELTAS, DELTAS[:2]])
def test_every_event_conforms_to_open_responses(deltas: Sequence[OutputDelta], ending: Ending) -> None:
    for event in run(*deltas, ending=ending):
        assert set(event) == KEYS[event["type"]]
        conformance.event(with_specification_names(event))


def test_the_stock_sdk_parses_every_event_of_an_item() -> None:
    for event in run(*DELTAS, ending=Failed(EngineFailed("x"))):
        if "response" not in event:  # its literals exclude our own reasons and error codes
            assert STOCK.validate_python(event).type == event["type"]


def test_the_stock_sdk_parses_the_usage() -> None:
    ResponseUsage.model_validate(run()[-1]["response"]["usage"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_resource_has_all_keys_and_no_null_in_required_values(ending: Ending) -> None:
    resources = [event["response"] for event in run(*DELTAS, ending=ending) if "response" in event]
    assert len(resources) == 3
    for resource in resources:
        assert set(resource) == conformance.RESPONSE_KEYS | ADDITIONS
        assert not {key for key in NEVER_NULL if resource[key] is None}


@pytest.mark.parametrize("ending", ENDINGS)
def test_only_the_last_resource_describes_the_end(ending: Ending) -> None:
    first, second, last = [event["response"] for event in run(*DELTAS, ending=ending) if "response" in event]
    for started in (first, second):
        assert (started["status"], started["output"]) == ("in_progress", [])
        assert [started[key] for key in ("completed_at", "usage", "error", "incomplete_details")] == [None] * 4
    assert last["status"] != "in_progress"
    assert len(last["output"]) == 3


def test_a_plain_answer_conforms() -> None:
    response = conformance.stream(run(TextDelta("Hel"), TextDelta("lo")))
    assert response["status"] == "completed"
    assert response["completed_at"] == 1_700_000_001
    assert response["usage"]["total_tokens"] == 7


def test_an_answer_with_reasoning_and_a_call_produces_these_events() -> None:
    events = run(*DELTAS)
    assert types(events) == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    assert [item["type"] for item in done] == ["reasoning", "message", "function_call"]


def test_an_answer_without_output_is_one_message() -> None:
    (message,) = conformance.stream(run())["output"]
    assert (message["type"], message["status"]) == ("message", "completed")


def test_an_empty_message_has_the_part_that_was_shown() -> None:
    assert conformance.stream(run())["output"][0]["content"] == [
        {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    ]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("deltas", [(), DELTAS])
def test_sequence_numbers_have_no_gap_whatever_the_ending(deltas: Sequence[OutputDelta], ending: Ending) -> None:
    events = run(*deltas, ending=ending)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("reason", ["cancelled", "max_output_tokens"])
def test_an_incomplete_answer_keeps_its_text_and_its_reason(reason: Any) -> None:
    events = run(TextDelta("half"), ending=Incomplete(reason, Usage(5, 1, 6)))
    response = conformance.stream(events)
    assert types(events)[-1] == "incomplete"
    assert response["incomplete_details"] == {"reason": reason}
    assert (response["output"][0]["status"], response["output"][0]["content"][0]["text"]) == ("incomplete", "half")
    assert (response["completed_at"], response["usage"]["output_tokens"]) == (None, 1)


def test_a_failure_sends_an_error_event_and_keeps_the_output_shown() -> None:
    *_, error, failed = run(TextDelta("half"), ending=Failed(NotFound("engine", param="model")))
    expected = {"type": "not_found", "code": "not_found", "message": "no such engine", "param": "model"}
    assert error["error"] == expected
    assert {name: error[name] for name in ("code", "message", "param", "status")} == {
        "code": "not_found", "message": "no such engine", "param": "model", "status": 404,
    }  # fmt: skip
    assert failed["response"]["error"] == {"code": "not_found", "message": "no such engine"}
    assert failed["response"]["output"][0]["status"] == "incomplete"


def test_a_failure_before_any_output_has_no_message() -> None:
    assert types(run(ending=Failed(EngineFailed("x")))) == ["created", "in_progress", "error", "failed"]


def test_a_warm_up_completes_without_output() -> None:
    events = run(machine=turn(generate=False))
    assert types(events) == ["created", "in_progress", "completed"]
    assert conformance.stream(events)["output"] == []


def test_the_response_echoes_its_request() -> None:
    requested = turn(
        conversation_id="conv_1",
        previous_response_id="resp_0",
        instructions="be brief",
        metadata={"a": "b"},
        max_output_tokens=7,
        truncation="auto",
        background=True,
        reasoning=ReasoningConfig("low"),
        safety_identifier="s",
        prompt_cache_key="p",
    )
    response = conformance.stream(run(TextDelta("x"), machine=requested))
    echoed = {key: response[key] for key in ("previous_response_id", "instructions", "metadata", "max_output_tokens")}
    assert echoed == {
        "previous_response_id": "resp_0", "instructions": "be brief", "metadata": {"a": "b"}, "max_output_tokens": 7,
    }  # fmt: skip
    assert response["conversation"] == {"id": "conv_1"}
    assert (response["truncation"], response["background"], response["store"]) == ("auto", True, True)
    assert response["reasoning"] == {"effort": "low", "summary": None}
    assert (response["safety_identifier"], response["prompt_cache_key"]) == ("s", "p")
    assert (response["temperature"], response["top_p"], response["repetition_penalty"]) == (0.45, 0.9, 1.2)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", "required"),
        (FunctionChoice("add"), {"type": "function", "name": "add"}),
        (
            AllowedTools((FunctionChoice("add"),)),
            {"type": "allowed_tools", "tools": [{"type": "function", "name": "add"}], "mode": "auto"},
        ),
    ],
)
def test_tools_are_echoed_with_all_their_keys(choice: Any, expected: Any) -> None:
    options = OutputOptions(tools=(FunctionTool("add"),), tool_choice=choice, parallel_tool_calls=False)
    response = conformance.stream(run(TextDelta("x"), machine=turn(options=options)))
    assert response["tools"] == [
        {"type": "function", "name": "add", "description": None, "parameters": None, "strict": None}
    ]
    assert (response["tool_choice"], response["parallel_tool_calls"]) == (expected, False)


def test_a_json_format_is_echoed() -> None:
    assert conformance.stream(run(TextDelta("{}"), machine=turn(options=OutputOptions(format=JsonObject()))))[
        "text"
    ] == {"format": {"type": "json_object"}}


def test_a_schema_is_echoed_unchanged() -> None:
    # Not checked by the published model: it requires `schema` to be null, which later revisions correct.
    options = OutputOptions(format=JsonSchema("answer", {"type": "object"}, strict=True))
    assert run(machine=turn(options=options))[-1]["response"]["text"]["format"] == {
        "type": "json_schema", "name": "answer", "schema": {"type": "object"}, "description": None, "strict": True,
    }  # fmt: skip


def test_a_schema_is_not_strict_by_default() -> None:
    options = OutputOptions(format=JsonSchema("answer", {"type": "object"}))
    assert run(machine=turn(options=options))[-1]["response"]["text"]["format"]["strict"] is False


def test_the_window_has_the_engines_token_count_once_it_is_known() -> None:
    machine = turn()
    machine.step(Created())
    (started,) = wires(machine.step(WindowUse(3, None, 4096)))
    (*_, ended) = wires(machine.step(Completed(Usage(5, 2, 7), 1)))
    assert started["response"]["window"] == {"items_left_out": 3, "input_tokens": None, "context_tokens": 4096}
    assert ended["response"]["window"] == {"items_left_out": 3, "input_tokens": 5, "context_tokens": 4096}


def test_a_window_chosen_again_produces_no_second_event() -> None:
    machine = turn()
    machine.step(WindowUse(0, None, 4096))
    assert machine.step(WindowUse(1, 100, 2048)) == []
    assert machine.response("in_progress").window == WindowUse(1, 100, 2048)


@pytest.mark.parametrize("ending", [Incomplete("cancelled"), Failed(EngineFailed("x"))])
def test_a_turn_that_ends_at_once_is_in_progress_first(ending: Ending) -> None:
    machine = turn()
    assert types(wires([*machine.step(Created()), *machine.step(ending)]))[:2] == ["created", "in_progress"]


@pytest.mark.parametrize("step", [TextDelta("late"), COMPLETED, Created(), Failed(EngineFailed("x"))])
def test_nothing_follows_the_terminal_event(step: Any) -> None:
    machine = turn()
    run(TextDelta("x"), machine=machine)
    outcome = machine.outcome
    with pytest.raises(RuntimeError):
        machine.step(step)
    assert machine.outcome is outcome


def test_the_outcome_is_the_resource_of_the_last_event() -> None:
    machine = turn()
    *_, last = run(*DELTAS, machine=machine)
    assert machine.outcome is not None
    assert last["response"]["id"] == machine.outcome.id
    assert [item["id"] for item in last["response"]["output"]] == [item.id for item in machine.outcome.output]


def test_a_cancelled_answer_has_the_time_that_the_stop_took() -> None:
    response = conformance.stream(run(TextDelta("x"), ending=STOPPED))
    assert response["incomplete_details"] == {"reason": "cancelled", "stopped_in_ms": 12}


def without_ids(events: list[Wire]) -> str:
    """They are random: an item that is opened last differs between owners."""
    return re.sub(r"(msg|rs|fc|call)_[0-9a-f]+", "id", json.dumps(events))


@settings(max_examples=40)
@given(answer_deltas(), st.integers(0, 30), st.sampled_from(ENDINGS))
def test_another_owner_continues_after_the_replayed_events(deltas: list[OutputDelta], cut: int, ending: Ending) -> None:
    """It knows only the events in the log."""
    first, second = turn(), turn()
    events = [event for step in (Created(), WINDOW, *deltas[:cut]) for event in first.step(step)]
    for event in events:
        second.replay(decode_event(frame(event)))
    assert (second.nothing_shown, second.text_is_open) == (first.nothing_shown, first.text_is_open)
    last = wires([*events, *second.step(ending)])
    assert without_ids(last) == without_ids(wires([*events, *first.step(ending)]))
    assert [event["sequence_number"] for event in last] == list(range(len(last)))


def test_a_turn_replayed_to_its_end_is_over() -> None:
    second = turn()
    for event in run(TextDelta("x")):
        second.replay(decode_event(json.dumps(event)))
    assert second.outcome is not None
    assert second.outcome.status == "completed"
    with pytest.raises(RuntimeError):
        second.step(COMPLETED)


def test_an_unstored_response_has_store_false() -> None:
    assert conformance.stream(run(TextDelta("x"), machine=turn(thread_id=None)))["store"] is False


def test_a_stream_id_is_echoed_on_the_frame_and_changes_nothing_else() -> None:
    text = frame(turn().step(Created())[0])
    assert with_stream_id(text, None) is text
    assert json.loads(with_stream_id(text, 'a"b')) == {**json.loads(text), "stream_id": 'a"b'}
