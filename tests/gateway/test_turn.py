import json

import pytest
from openresponses_types import types as spec
from pydantic import BaseModel

from gateway.errors import EngineFailed
from gateway.generation import Sampling
from gateway.protocol.events import Event, addressed, frame
from gateway.protocol.resources import Usage
from gateway.turn import Completed, CutShort, Ending, Failed, Turn, TurnRequest

REQUEST = TurnRequest(
    response_id="resp_1",
    message_id="msg_1",
    user_id="user_1",
    model="parley-demo",
    sampling=Sampling(0.45, 0.9, 1.2, 100),
    created_at=1_700_000_000,
    conversation_id="conv_1",
)
SCHEMAS: dict[str, type[BaseModel]] = {
    "response.created": spec.ResponseCreatedStreamingEvent,
    "response.in_progress": spec.ResponseInProgressStreamingEvent,
    "response.output_item.added": spec.ResponseOutputItemAddedStreamingEvent,
    "response.content_part.added": spec.ResponseContentPartAddedStreamingEvent,
    "response.output_text.delta": spec.ResponseOutputTextDeltaStreamingEvent,
    "response.output_text.done": spec.ResponseOutputTextDoneStreamingEvent,
    "response.content_part.done": spec.ResponseContentPartDoneStreamingEvent,
    "response.output_item.done": spec.ResponseOutputItemDoneStreamingEvent,
    "response.completed": spec.ResponseCompletedStreamingEvent,
    "response.incomplete": spec.ResponseIncompleteStreamingEvent,
    "response.failed": spec.ResponseFailedStreamingEvent,
}


def run(*deltas: str, ending: Ending) -> list[dict[str, object]]:
    turn = Turn(REQUEST)
    events: list[Event] = turn.start()
    for text in deltas:
        events += turn.delta(text)
    events += turn.end(ending)
    return [json.loads(frame(event)) for event in events]


def types(events: list[dict[str, object]]) -> list[object]:
    return [event["type"] for event in events]


COMPLETED = Completed(Usage(5, 2, 7), 1_700_000_001)


def test_a_whole_answer_is_this_sequence_of_events() -> None:
    assert types(run("Hel", "lo", ending=COMPLETED)) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


@pytest.mark.parametrize(
    "ending", [COMPLETED, CutShort("cancelled"), CutShort("max_output_tokens"), Failed(EngineFailed("x"))]
)
@pytest.mark.parametrize("deltas", [(), ("你", "好")])
def test_sequence_numbers_have_no_gap_whatever_the_ending(ending: Ending, deltas: tuple[str, ...]) -> None:
    events = run(*deltas, ending=ending)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


@pytest.mark.parametrize("ending", [COMPLETED, CutShort("cancelled"), Failed(EngineFailed("x"))])
def test_every_event_is_valid_by_the_open_responses_schema(ending: Ending) -> None:
    for event in run("你", "好", ending=ending):
        if event["type"] != "error":
            SCHEMAS[str(event["type"])].model_validate(event)


def test_the_resource_has_all_31_keys_of_the_specification() -> None:
    response = run("x", ending=COMPLETED)[-1]["response"]
    assert isinstance(response, dict)
    assert len(spec.ResponseResource.model_fields) == 31
    assert set(spec.ResponseResource.model_fields) <= set(response)


def test_the_text_of_the_end_is_the_text_of_the_deltas() -> None:
    events = run("你", "", "好", ending=COMPLETED)
    done = next(event for event in events if event["type"] == "response.output_text.done")
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert done["text"] == "你好"
    assert deltas == ["你", "好"]


def test_a_stopped_answer_keeps_its_text_and_says_so() -> None:
    last = run("half", ending=CutShort("cancelled"))[-1]
    response = last["response"]
    assert isinstance(response, dict)
    assert last["type"] == "response.incomplete"
    assert response["incomplete_details"] == {"reason": "cancelled"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == "half"


def test_a_failure_is_announced_and_keeps_what_was_shown() -> None:
    events = run("half", ending=Failed(EngineFailed("the engine is gone")))
    assert types(events)[-2:] == ["error", "response.failed"]
    response = events[-1]["response"]
    assert isinstance(response, dict)
    assert response["error"] == {"code": "model_error", "message": "the engine is gone"}
    assert response["output"][0]["content"][0]["text"] == "half"


def test_a_failure_before_the_first_word_has_no_message() -> None:
    assert "response.output_item.added" not in types(run(ending=Failed(EngineFailed("x"))))


def test_nothing_follows_the_one_ending() -> None:
    turn = Turn(REQUEST)
    turn.end(COMPLETED)
    with pytest.raises(RuntimeError):
        turn.delta("late")


def test_a_stream_id_is_echoed_on_the_frame_and_changes_nothing_else() -> None:
    text = frame(Turn(REQUEST).start()[0])
    assert addressed(text, None) is text
    assert json.loads(addressed(text, 'a"b')) == {**json.loads(text), "stream_id": 'a"b'}
