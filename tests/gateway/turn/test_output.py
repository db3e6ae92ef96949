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


class PromptHistory:
    """An output with all the events it has made so far."""

    def __init__(self, *pieces: OutputDelta, response_id: str = "resp_1") -> None:
        self.numbers = count()
        self.output = Output(self.numbers.__next__, response_id, POSITION)
        self.events: list[e.Event] = []
        for piece in pieces:
            self.events += self.output.add(piece)

    def closed(self, status: ItemStatus = "completed") -> "PromptHistory":
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
def test_sequence_numbers_have_no_gap(pieces: list[OutputDelta]) -> None:
    events = PromptHistory(*pieces).closed().events
    assert [event.sequence_number for event in events] == list(range(len(events)))


@given(answer_deltas())
def test_each_item_in_turn_is_opened_and_closed_exactly_once(pieces: list[OutputDelta]) -> None:
    told = PromptHistory(*pieces).closed()
    opened = [event.item.id for event in told.events if isinstance(event, e.OutputItemAdded)]
    ended = [event.item for event in told.events if isinstance(event, e.OutputItemDone)]
    assert opened == [item.id for item in ended] == [item.id for item in told.items]
    assert tuple(ended) == told.items
    now = -1
    for event in told.events:
        now += isinstance(event, e.OutputItemAdded)
        assert getattr(event, "output_index", None) == now
        assert getattr(event, "item_id", opened[now]) == opened[now]


@given(answer_deltas())
def test_the_deltas_of_an_item_equal_its_done_event_and_the_stored_item(pieces: list[OutputDelta]) -> None:
    told = PromptHistory(*pieces).closed()
    for item in told.items:
        mine = [event for event in told.events if getattr(event, "item_id", None) == item.id]
        deltas = [event.delta for event in mine if isinstance(event, e.Delta)]
        done = [event.text for event in mine if isinstance(event, e.OutputTextDone | e.ReasoningDone)]
        done += [event.arguments for event in mine if isinstance(event, e.ArgumentsDone)]
        assert ["".join(deltas)] == done == [text_of(item)]
        assert all(deltas)


@given(answer_deltas())
def test_no_text_of_the_engine_is_lost(pieces: list[OutputDelta]) -> None:
    items = PromptHistory(*pieces).closed().items
    spoken = without_blanks([text_of(item) for item in items if isinstance(item, Message)])
    thought = [text_of(item) for item in items if isinstance(item, Reasoning)]
    assert spoken == without_blanks([piece.text for piece in pieces if isinstance(piece, TextDelta)])
    assert "".join(thought) == "".join(piece.text for piece in pieces if isinstance(piece, ReasoningTextDelta))


@given(answer_deltas())
def test_item_ids_carry_their_reserved_positions(pieces: list[OutputDelta]) -> None:
    items = PromptHistory(*pieces).closed().items
    assert [position_in(item.id) for item in items] == [POSITION + index for index in range(len(items))]


def test_reasoning_calls_and_text_are_separate_items() -> None:
    told = PromptHistory(
        ReasoningTextDelta("hm"), ToolCallDelta(0, "{}", "add"), ToolCallDelta(1, "{}", "sub"), TextDelta("so")
    ).closed()
    assert [type(item) for item in told.items] == [Reasoning, FunctionCall, FunctionCall, Message]
    assert [item.name for item in told.items if isinstance(item, FunctionCall)] == ["add", "sub"]
    assert len({item.call_id for item in told.items if isinstance(item, FunctionCall)}) == 2


def test_a_call_produces_these_events() -> None:
    told = PromptHistory(ToolCallDelta(0, "", "add"), ToolCallDelta(0, '{"a"'), ToolCallDelta(0, ":1}")).closed()
    assert told.kinds == ["OutputItemAdded", "ArgumentsDelta", "ArgumentsDelta", "ArgumentsDone", "OutputItemDone"]
    added, done = told.events[0], told.events[-2]
    assert isinstance(added, e.OutputItemAdded)
    assert isinstance(added.item, FunctionCall)
    assert (added.item.name, added.item.arguments, added.item.status) == ("add", "", "in_progress")
    assert isinstance(done, e.ArgumentsDone)
    assert (done.name, done.arguments) == ("add", '{"a":1}')


def test_reasoning_produces_these_events() -> None:
    assert PromptHistory(ReasoningTextDelta("h"), ReasoningTextDelta("m")).closed().kinds == [
        "OutputItemAdded",
        "ContentPartAdded",
        "ReasoningDelta",
        "ReasoningDelta",
        "ReasoningDone",
        "ContentPartDone",
        "OutputItemDone",
    ]


def test_a_call_without_arguments_is_an_item() -> None:
    (call,) = PromptHistory(ToolCallDelta(0, "", "now")).closed().items
    assert isinstance(call, FunctionCall)
    assert (call.name, call.arguments, call.status) == ("now", "", "completed")


@pytest.mark.parametrize("piece", [TextDelta("", (1,)), ReasoningTextDelta("", (1,)), ToolCallDelta(0, "")])
def test_a_delta_without_text_produces_no_event(piece: OutputDelta) -> None:
    assert PromptHistory(piece).events == []


def test_an_answer_without_text_is_an_empty_message() -> None:
    told = PromptHistory(TextDelta(" \n")).closed()
    (message,) = told.items
    assert isinstance(message, Message)
    assert (message.text, message.status) == ("", "completed")
    assert told.kinds[:2] == ["OutputItemAdded", "ContentPartAdded"]


def test_closing_again_for_the_same_response_gives_equal_items() -> None:
    told, again, other = (PromptHistory(response_id=one).closed().items for one in ("resp_1", "resp_1", "resp_2"))
    assert told == again != other


def test_held_white_space_is_not_doubled_after_a_restart() -> None:
    told = PromptHistory(TextDelta("\n\n"))
    told.output.restart()
    told.output.add(TextDelta("\n\n"))
    told.output.add(TextDelta("Hi"))
    assert [text_of(item) for item in told.items] == ["\n\nHi"]


def test_an_answer_of_calls_only_has_no_message() -> None:
    assert [type(item) for item in PromptHistory(ToolCallDelta(0, "{}", "add"), TextDelta("\n")).closed().items] == [
        FunctionCall
    ]


def test_line_ends_around_reasoning_are_no_part_of_the_text() -> None:
    items = (
        PromptHistory(TextDelta("\n"), ReasoningTextDelta("hm"), TextDelta("\n"), TextDelta("\nyes\n"), TextDelta("no"))
        .closed()
        .items
    )
    assert [text_of(item) for item in items] == ["hm", "yes\nno"]


def test_text_keeps_its_leading_blank() -> None:
    assert [text_of(item) for item in PromptHistory(TextDelta(" "), TextDelta("yes")).items] == [" yes"]


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_only_the_open_item_can_be_incomplete(status: ItemStatus) -> None:
    first, last = PromptHistory(ReasoningTextDelta("hm"), TextDelta("half")).closed(status).items
    assert (first.status, last.status) == ("completed", status)


def test_closing_twice_produces_no_further_events() -> None:
    told = PromptHistory(TextDelta("a")).closed()
    assert told.output.close_with_message("completed") == told.output.close("incomplete") == []


def test_an_answer_has_no_more_items_than_reserved_positions() -> None:
    told = PromptHistory(*(ToolCallDelta(index, "{}", "f") for index in range(MAX_OUTPUT_ITEMS)))
    with pytest.raises(EngineFailed):
        told.output.add(ToolCallDelta(MAX_OUTPUT_ITEMS, "{}", "f"))
    events = told.closed("incomplete").events
    assert next(told.numbers) == len(events)  # none was given out for what was refused


@pytest.mark.parametrize(
    "pieces",
    [
        [ToolCallDelta(0, "{}")],
        [ToolCallDelta(0, '{"a"', "add"), ToolCallDelta(1, "{}", "sub"), ToolCallDelta(0, ":1}")],
        [ToolCallDelta(0, "{}", "")],
    ],
)
def test_a_call_without_a_name_is_refused_and_leaves_no_gap(pieces: list[OutputDelta]) -> None:
    *before, last = pieces
    told = PromptHistory(*before)
    with pytest.raises(EngineFailed):
        told.output.add(last)
    events = told.closed().events
    assert [event.sequence_number for event in events] == list(range(len(events)))
