from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta, merge_adjacent
from tests.gateway.builders import DELTAS


def letters(pieces: Sequence[OutputDelta]) -> list[tuple[type[OutputDelta], int, str]]:
    """Each letter with what it belongs to; the name of a call comes before its arguments."""
    told = []
    for piece in pieces:
        text = (
            f"{piece.name or ''}({piece.arguments}"
            if isinstance(piece, ToolCallDelta) and piece.name
            else text_of(piece)
        )
        told += [(type(piece), piece.index if isinstance(piece, ToolCallDelta) else 0, letter) for letter in text]
    return told


def text_of(piece: OutputDelta) -> str:
    return piece.arguments if isinstance(piece, ToolCallDelta) else piece.text


@given(st.lists(DELTAS, max_size=30))
def test_merging_keeps_every_letter_in_its_place(pieces: list[OutputDelta]) -> None:
    assert letters(merge_adjacent(pieces)) == letters(pieces)


@given(st.lists(DELTAS, max_size=30))
def test_merging_keeps_every_token_id_in_order(pieces: list[OutputDelta]) -> None:
    def ids(among: Sequence[OutputDelta]) -> list[int]:
        return [one for piece in among for one in piece.token_ids]

    assert ids(merge_adjacent(pieces)) == ids(pieces)


@given(st.lists(DELTAS, max_size=30))
def test_merging_is_idempotent(pieces: list[OutputDelta]) -> None:
    once = merge_adjacent(pieces)
    assert merge_adjacent(once) == once


def test_adjacent_deltas_of_one_kind_become_one() -> None:
    pieces: list[OutputDelta] = [
        ReasoningTextDelta("hm", (1,)),
        ReasoningTextDelta("m", (2,)),
        TextDelta("a", (3,)),
        TextDelta("b", (4, 5)),
    ]
    assert merge_adjacent(pieces) == [ReasoningTextDelta("hmm", (1, 2)), TextDelta("ab", (3, 4, 5))]


def test_the_deltas_of_a_call_become_one_with_its_name() -> None:
    pieces = [
        ToolCallDelta(0, "", "add", (1,)),
        ToolCallDelta(0, '{"a"', None, (2,)),
        ToolCallDelta(0, ":1}", None, (3,)),
    ]
    assert merge_adjacent(pieces) == [ToolCallDelta(0, '{"a":1}', "add", (1, 2, 3))]


@pytest.mark.parametrize(
    "pieces",
    [
        [ToolCallDelta(0, "{}", "add"), ToolCallDelta(1, "{}", "add")],
        [ToolCallDelta(0, "{}", "add"), ToolCallDelta(0, "{}", "add")],
        [ToolCallDelta(0, "", "add"), ToolCallDelta(1, "{}")],
        [TextDelta("a"), ReasoningTextDelta("b"), TextDelta("c")],
    ],
)
def test_deltas_of_different_items_stay_separate(pieces: list[OutputDelta]) -> None:
    assert merge_adjacent(pieces) == pieces
