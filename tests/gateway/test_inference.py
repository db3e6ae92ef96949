from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inference import Called, Piece, Thought, Tokens, merged
from tests.gateway.builders import PIECES


def letters(pieces: Sequence[Piece]) -> list[tuple[type[Piece], int, str]]:
    """Each letter with what it belongs to; the name of a call comes before its arguments."""
    told = []
    for piece in pieces:
        text = f"{piece.name or ''}({piece.arguments}" if isinstance(piece, Called) and piece.name else text_of(piece)
        told += [(type(piece), piece.index if isinstance(piece, Called) else 0, letter) for letter in text]
    return told


def text_of(piece: Piece) -> str:
    return piece.arguments if isinstance(piece, Called) else piece.text


@given(st.lists(PIECES, max_size=30))
def test_joining_keeps_every_letter_in_its_place(pieces: list[Piece]) -> None:
    assert letters(merged(pieces)) == letters(pieces)


@given(st.lists(PIECES, max_size=30))
def test_joining_keeps_every_token_id_in_order(pieces: list[Piece]) -> None:
    def ids(among: Sequence[Piece]) -> list[int]:
        return [one for piece in among for one in piece.token_ids]

    assert ids(merged(pieces)) == ids(pieces)


@given(st.lists(PIECES, max_size=30))
def test_what_is_joined_can_not_be_joined_again(pieces: list[Piece]) -> None:
    once = merged(pieces)
    assert merged(once) == once


def test_neighbours_of_one_kind_become_one() -> None:
    pieces: list[Piece] = [Thought("hm", (1,)), Thought("m", (2,)), Tokens("a", (3,)), Tokens("b", (4, 5))]
    assert merged(pieces) == [Thought("hmm", (1, 2)), Tokens("ab", (3, 4, 5))]


def test_the_pieces_of_a_call_become_one_that_has_its_name() -> None:
    pieces = [Called(0, "", "add", (1,)), Called(0, '{"a"', None, (2,)), Called(0, ":1}", None, (3,))]
    assert merged(pieces) == [Called(0, '{"a":1}', "add", (1, 2, 3))]


@pytest.mark.parametrize(
    "pieces",
    [
        [Called(0, "{}", "add"), Called(1, "{}", "add")],
        [Called(0, "{}", "add"), Called(0, "{}", "add")],
        [Called(0, "", "add"), Called(1, "{}")],
        [Tokens("a"), Thought("b"), Tokens("c")],
    ],
)
def test_what_belongs_to_different_items_stays_apart(pieces: list[Piece]) -> None:
    assert merged(pieces) == pieces
