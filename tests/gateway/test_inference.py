from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta, merge_adjacent
from tests.gateway.builders import DELTAS


def letters(deltas: Sequence[OutputDelta]) -> list[tuple[type[OutputDelta], int, str]]:
    """Each letter with its kind and its call; the name of a call comes before its arguments."""
    found = []
    for delta in deltas:
        text = (
            f"{delta.name or ''}({delta.arguments}"
            if isinstance(delta, ToolCallDelta) and delta.name
            else text_of(delta)
        )
        found += [(type(delta), delta.index if isinstance(delta, ToolCallDelta) else 0, letter) for letter in text]
    return found


def text_of(delta: OutputDelta) -> str:
    return delta.arguments if isinstance(delta, ToolCallDelta) else delta.text


@given(st.lists(DELTAS, max_size=30))
def test_merging_keeps_every_letter_in_its_place(deltas: list[OutputDelta]) -> None:
    assert letters(merge_adjacent(deltas)) == letters(deltas)


@given(st.lists(DELTAS, max_size=30))
def test_merging_keeps_every_token_id_in_order(deltas: list[OutputDelta]) -> None:
    def ids(among: Sequence[OutputDelta]) -> list[int]:
        return [one for delta in among for one in delta.token_ids]

    assert ids(merge_adjacent(deltas)) == ids(deltas)


@given(st.lists(DELTAS, max_size=30))
def test_merging_is_idempotent(deltas: list[OutputDelta]) -> None:
    merged = merge_adjacent(deltas)
    assert merge_adjacent(merged) == merged


def test_adjacent_deltas_of_one_kind_become_one() -> None:
    deltas: list[OutputDelta] = [
        ReasoningTextDelta("hm", (1,)),
        ReasoningTextDelta("m", (2,)),
        TextDelta("a", (3,)),
        TextDelta("b", (4, 5)),
    ]
    assert merge_adjacent(deltas) == [ReasoningTextDelta("hmm", (1, 2)), TextDelta("ab", (3, 4, 5))]


def test_the_deltas_of_a_call_become_one_with_its_name() -> None:
    deltas = [
        ToolCallDelta(0, "", "add", (1,)),
        ToolCallDelta(0, '{"a"', None, (2,)),
        ToolCallDelta(0, ":1}", None, (3,)),
    ]
    assert merge_adjacent(deltas) == [ToolCallDelta(0, '{"a":1}', "add", (1, 2, 3))]


@pytest.mark.parametrize(
    "deltas",
    [
        [ToolCallDelta(0, "{}", "add"), ToolCallDelta(1, "{}", "add")],
        [ToolCallDelta(0, "{}", "add"), ToolCallDelta(0, "{}", "add")],
        [ToolCallDelta(0, "", "add"), ToolCallDelta(1, "{}")],
        [TextDelta("a"), ReasoningTextDelta("b"), TextDelta("c")],
    ],
)
def test_deltas_of_different_items_stay_separate(deltas: list[OutputDelta]) -> None:
    assert merge_adjacent(deltas) == deltas
