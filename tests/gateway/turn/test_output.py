from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given

from gateway.errors import EngineFailed
from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol import events as e
from gateway.protocol.ids import position_in
from gateway.protocol.items import FunctionCall, ItemStatus, Message, OutputItem, Reasoning
from gateway.turn.output import MAX_OUTPUT_ITEMS, Output
from tests.gateway.builders import answer_deltas

POSITION = 7


class RecordedOutput:
    """An output with all events that it has produced so far."""

    def __init__(self, *deltas: OutputDelta, response_id: str = "resp_1") -> None:
        self.numbers = count()
        self.output = Output(self.numbers.__next__, response_id, POSITION)
        self.events: list[e.Event] = []
        for delta in deltas:
            self.events += self.output.add(delta)

    def closed(self, status: ItemStatus = "completed") -> "RecordedOutput":
        self.events += self.output.close_with_message(status)
        return self

    @property
    def items(self) -> tuple[OutputItem, ...]:
        return self.output.items("incomplete")

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def text_of(item: OutputItem) -> str:
    if isinstance(item, FunctionCall):
        return item.arguments
    return "".join(part.text for part in item.content)


def without_blanks(texts: Sequence[str]) -> str:
    return "".join("".join(texts).split())


@given(answer_deltas())
def test_sequence_numbers_have_no_gap(deltas: list[OutputDelta]) -> None:
    events = RecordedOutput(*deltas).closed().events
    assert [event.sequence_number for event in events] == list(range(len(events)))


@given(answer_deltas())
def test_each_item_in_turn_is_opened_and_closed_exactly_once(deltas: list[OutputDelta]) -> None:
    recorded = RecordedOutput(*deltas).closed()
    opened = [event.item.id for event in recorded.events if isinstance(event, e.OutputItemAdded)]
    ended = [event.item for event in recorded.events if isinstance(event, e.OutputItemDone)]
    assert opened == [item.id for item in ended] == [item.id for item in recorded.items]
    assert tuple(ended) == recorded.items
    open_index = -1
    for event in recorded.events:
        open_index += isinstance(event, e.OutputItemAdded)
        assert getattr(event, "output_index", None) == open_index
        assert getattr(event, "item_id", opened[open_index]) == opened[open_index]


@given(answer_deltas())
def test_the_deltas_of_an_item_equal_its_done_event_and_the_stored_item(deltas: list[OutputDelta]) -> None:
    recorded = RecordedOutput(*deltas).closed()
    for item in recorded.items:
        mine = [event for event in recorded.events if getattr(event, "item_id", None) == item.id]
        shown = [event.delta for event in mine if isinstance(event, e.Delta)]
        done = [event.text for event in mine if isinstance(event, e.OutputTextDone | e.ReasoningDone)]
        done += [event.arguments for event in mine if isinstance(event, e.ArgumentsDone)]
        assert ["".join(shown)] == done == [text_of(item)]
        assert all(shown)


@given(answer_deltas())
def test_no_text_of_the_engine_is_lost(deltas: list[OutputDelta]) -> None:
    items = RecordedOutput(*deltas).closed().items
    text = without_blanks([text_of(item) for item in items if isinstance(item, Message)])
    reasoning = [text_of(item) for item in items if isinstance(item, Reasoning)]
    assert text == without_blanks([delta.text for delta in deltas if isinstance(delta, TextDelta)])
    assert "".join(reasoning) == "".join(delta.text for delta in deltas if isinstance(delta, ReasoningTextDelta))


@given(answer_deltas())
def test_item_ids_carry_their_reserved_positions(deltas: list[OutputDelta]) -> None:
    items = RecordedOutput(*deltas).closed().items
    assert [position_in(item.id) for item in items] == [POSITION + index for index in range(len(items))]


def test_reasoning_calls_and_text_are_separate_items() -> None:
    recorded = RecordedOutput(
        ReasoningTextDelta("hm"), ToolCallDelta(0, "{}", "add"), ToolCallDelta(1, "{}", "sub"), TextDelta("so")
    ).closed()
    assert [type(item) for item in recorded.items] == [Reasoning, FunctionCall, FunctionCall, Message]
    assert [item.name for item in recorded.items if isinstance(item, FunctionCall)] == ["add", "sub"]
    assert len({item.call_id for item in recorded.items if isinstance(item, FunctionCall)}) == 2


def test_a_call_produces_these_events() -> None:
    recorded = RecordedOutput(ToolCallDelta(0, "", "add"), ToolCallDelta(0, '{"a"'), ToolCallDelta(0, ":1}")).closed()
    assert recorded.kinds == ["OutputItemAdded", "ArgumentsDelta", "ArgumentsDelta", "ArgumentsDone", "OutputItemDone"]
    added, done = recorded.events[0], recorded.events[-2]
    assert isinstance(added, e.OutputItemAdded)
    assert isinstance(added.item, FunctionCall)
    assert (added.item.name, added.item.arguments, added.item.status) == ("add", "", "in_progress")
    assert isinstance(done, e.ArgumentsDone)
    assert (done.name, done.arguments) == ("add", '{"a":1}')


def test_reasoning_produces_these_events() -> None:
    assert RecordedOutput(ReasoningTextDelta("h"), ReasoningTextDelta("m")).closed().kinds == [
        "OutputItemAdded",
        "ContentPartAdded",
        "ReasoningDelta",
        "ReasoningDelta",
        "ReasoningDone",
        "ContentPartDone",
        "OutputItemDone",
    ]


def test_a_call_without_arguments_is_an_item() -> None:
    (call,) = RecordedOutput(ToolCallDelta(0, "", "now")).closed().items
    assert isinstance(call, FunctionCall)
    assert (call.name, call.arguments, call.status) == ("now", "", "completed")


@pytest.mark.parametrize("delta", [TextDelta("", (1,)), ReasoningTextDelta("", (1,)), ToolCallDelta(0, "")])
def test_a_delta_without_text_produces_no_event(delta: OutputDelta) -> None:
    assert RecordedOutput(delta).events == []


def test_an_answer_without_text_is_an_empty_message() -> None:
    recorded = RecordedOutput(TextDelta(" \n")).closed()
    (message,) = recorded.items
    assert isinstance(message, Message)
    assert (message.text, message.status) == ("", "completed")
    assert recorded.kinds[:2] == ["OutputItemAdded", "ContentPartAdded"]


def test_closing_again_for_the_same_response_gives_equal_items() -> None:
    first, again, other = (RecordedOutput(response_id=one).closed().items for one in ("resp_1", "resp_1", "resp_2"))
    assert first == again != other


def test_held_white_space_is_not_doubled_after_a_restart() -> None:
    recorded = RecordedOutput(TextDelta("\n\n"))
    recorded.output.restart()
    recorded.output.add(TextDelta("\n\n"))
    recorded.output.add(TextDelta("Hi"))
    assert [text_of(item) for item in recorded.items] == ["\n\nHi"]


def test_an_answer_of_calls_only_has_no_message() -> None:
    assert [type(item) for item in RecordedOutput(ToolCallDelta(0, "{}", "add"), TextDelta("\n")).closed().items] == [
        FunctionCall
    ]


def test_line_ends_around_reasoning_are_no_part_of_the_text() -> None:
    items = (
        RecordedOutput(
            TextDelta("\n"), ReasoningTextDelta("hm"), TextDelta("\n"), TextDelta("\nyes\n"), TextDelta("no")
        )
        .closed()
        .items
    )
    assert [text_of(item) for item in items] == ["hm", "yes\nno"]


def test_text_keeps_its_leading_blank() -> None:
    assert [text_of(item) for item in RecordedOutput(TextDelta(" "), TextDelta("yes")).items] == [" yes"]


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_only_the_open_item_can_be_incomplete(status: ItemStatus) -> None:
    first, last = RecordedOutput(ReasoningTextDelta("hm"), TextDelta("half")).closed(status).items
    assert (first.status, last.status) == ("completed", status)


def test_closing_twice_produces_no_further_events() -> None:
    recorded = RecordedOutput(TextDelta("a")).closed()
    assert recorded.output.close_with_message("completed") == recorded.output.close("incomplete") == []


def test_an_answer_has_no_more_items_than_reserved_positions() -> None:
    recorded = RecordedOutput(*(ToolCallDelta(index, "{}", "f") for index in range(MAX_OUTPUT_ITEMS)))
    with pytest.raises(EngineFailed):
        recorded.output.add(ToolCallDelta(MAX_OUTPUT_ITEMS, "{}", "f"))
    events = recorded.closed("incomplete").events
    assert next(recorded.numbers) == len(events)  # the refused item took no number


@pytest.mark.parametrize(
    "deltas",
    [
        [ToolCallDelta(0, "{}")],
        [ToolCallDelta(0, '{"a"', "add"), ToolCallDelta(1, "{}", "sub"), ToolCallDelta(0, ":1}")],
        [ToolCallDelta(0, "{}", "")],
    ],
)
def test_a_call_without_a_name_is_refused_and_leaves_no_gap(deltas: list[OutputDelta]) -> None:
    *before, last = deltas
    recorded = RecordedOutput(*before)
    with pytest.raises(EngineFailed):
        recorded.output.add(last)
    events = recorded.closed().events
    assert [event.sequence_number for event in events] == list(range(len(events)))
