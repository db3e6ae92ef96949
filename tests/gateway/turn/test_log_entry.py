import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EngineFailed
from gateway.inference import ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol.events import ArgumentsDelta, Delta, OutputTextDelta, ReasoningDelta, frame
from gateway.protocol.resources import WindowUse
from gateway.turn.log_entry import LogEntry, decode_frame, fenced_by, is_terminal, prompt_tokens, token_ids
from gateway.turn.state_machine import Completed, Created, Failed, Incomplete
from tests.gateway.builders import turn

STEPS = (Created(), WindowUse(0, 5, 4096), ReasoningTextDelta("hm"), TextDelta('"你"\n'), ToolCallDelta(0, "{}", "add"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(0, 2**40)
IDS = st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)
DELTAS = st.one_of(
    st.builds(OutputTextDelta, NUMBERS, TEXTS, st.integers(0, 127), st.just(0), TEXTS),
    st.builds(ReasoningDelta, NUMBERS, TEXTS, st.integers(0, 127), st.just(0), TEXTS),
    st.builds(ArgumentsDelta, NUMBERS, TEXTS, st.integers(0, 127), TEXTS),
)


def stored(entry: LogEntry) -> tuple[bytes, dict[bytes, bytes]]:
    return entry.id.encode(), entry.fields()


@given(DELTAS, IDS, st.integers(0, 4))
def test_a_delta_round_trips_byte_for_byte_with_its_token_ids(event: Delta, ids: tuple[int, ...], dropped: int) -> None:
    entry = LogEntry(event, ids, dropped)
    assert decode_frame(*stored(entry)) == entry.frame == frame(event)
    assert token_ids([LogEntry(event, (1, 2, 3, 4)).fields(), entry.fields()]) == [*(1, 2, 3, 4)[: 4 - dropped], *ids]


@given(st.lists(IDS))
def test_the_token_ids_of_an_answer_round_trip_in_order(batches: list[tuple[int, ...]]) -> None:
    fields = [LogEntry(OutputTextDelta(number, "msg_1", 0, 0, "x"), ids).fields() for number, ids in enumerate(batches)]
    assert token_ids([{b"e": b"{}"}, *fields]) == [one for ids in batches for one in ids]


def test_the_number_of_prompt_tokens_round_trips() -> None:
    first, second = (OutputTextDelta(number, "msg_1", 0, 0, "x") for number in (1, 2))
    entries = [{b"e": b"{}"}, LogEntry(first, (5,), 0, 12).fields(), LogEntry(second, (6,)).fields()]
    assert (prompt_tokens(entries), prompt_tokens(entries[:1])) == (12, 0)


@pytest.mark.parametrize("ending", [Completed(None, 1), Incomplete("cancelled"), Failed(EngineFailed("你好"))])
def test_every_event_of_a_turn_round_trips_byte_for_byte(ending: Completed | Incomplete | Failed) -> None:
    machine = turn()
    entries = [LogEntry(event) for step in (*STEPS, ending) for event in machine.step(step)]
    assert [decode_frame(*stored(entry)) for entry in entries] == [entry.frame for entry in entries]
    assert [is_terminal(entry.fields()) for entry in entries] == [False] * (len(entries) - 1) + [True]
    assert [entry.is_terminal for entry in entries] == [is_terminal(entry.fields()) for entry in entries]


@given(NUMBERS)
def test_an_entrys_id_encodes_its_sequence_number(number: int) -> None:
    entry = LogEntry(OutputTextDelta(number, "msg_1", 0, 0, "x"))
    assert entry.id == f"{number + 1}-0"
    assert json.loads(decode_frame(*stored(entry)))["sequence_number"] == number


def test_a_delta_is_stored_in_little_more_than_its_text() -> None:
    entry = LogEntry(OutputTextDelta(1, "msg_1", 0, 0, "hello"), (1, 2))
    assert sum(len(name) + len(value) for name, value in entry.fields().items()) < len(entry.frame) / 4


def test_no_event_is_mistaken_for_a_fence() -> None:
    entry = LogEntry(OutputTextDelta(1, "msg_1", 0, 0, "seal"))
    assert fenced_by(entry.fields()) is None
    assert fenced_by({b"seal": b"g2"}) == "g2"
