"""A reversible byte-level tokenizer without a vocabulary file.

A pair of ASCII letters is one token, as are the first two bytes of a common Chinese character; everything else is
one token per byte. So a Chinese character spans two or three tokens, and a cut between tokens may fall inside one.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

_LOWER: Final = b"abcdefghijklmnopqrstuvwxyz"
_PIECES: Final = (
    *(bytes((byte,)) for byte in range(256)),
    *(bytes((a, b)) for a in b" " + _LOWER + _LOWER.upper() for b in _LOWER),
    # The first two of the three bytes of U+4000..U+9FFF.
    *(bytes((a, b)) for a in range(0xE4, 0xEA) for b in range(0x80, 0xC0)),
)
_PIECE: Final = re.compile(rb"[ A-Za-z][a-z]|[\xe4-\xe9][\x80-\xbf]|[\x00-\xff]", re.DOTALL)
_ID_OF: Final = {piece: token for token, piece in enumerate(_PIECES)}

SPECIAL: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END_OF_TEXT, IM_START, IM_END = range(len(_PIECES), len(_PIECES) + len(SPECIAL))
VOCABULARY_SIZE: Final = len(_PIECES) + len(SPECIAL)
LONGEST_TOKEN_CHARACTERS: Final = max(map(len, SPECIAL))

_SPECIAL: Final = re.compile("(" + "|".join(map(re.escape, SPECIAL)) + ")")
_SPECIAL_ID: Final = {text: len(_PIECES) + n for n, text in enumerate(SPECIAL)}


def encode(text: str) -> list[int]:
    """Token ids; special tokens in the text become control tokens, as in vLLM."""
    ids: list[int] = []
    for part in _SPECIAL.split(text):
        if part in _SPECIAL_ID:
            ids.append(_SPECIAL_ID[part])
        else:
            ids.extend(encode_literally(part))
    return ids


def encode_literally(text: str) -> list[int]:
    """Special tokens in the text stay text."""
    return [_ID_OF[piece] for piece in _PIECE.findall(text.encode())]


def piece(token: int) -> bytes:
    """The bytes of one token, specials spelled out; ids outside the vocabulary have none."""
    if token < len(_PIECES):
        return _PIECES[token]
    return SPECIAL[token - len(_PIECES)].encode() if token < VOCABULARY_SIZE else b""


def decode(ids: Iterable[int], *, skip_special: bool = False) -> str:
    kept = (token for token in ids if not (skip_special and token >= len(_PIECES)))
    return b"".join(map(piece, kept)).decode(errors="replace")


def ends_inside_character(ids: Sequence[int]) -> bool:
    return decode(ids[-8:], skip_special=True).endswith("\ufffd")


class IncrementalText:
    """The text that each further token completes; bytes of an incomplete character are held back.

    With a prompt that ends inside a character it behaves as vLLM 0.32: the token that completes the character
    returns the text of the *whole prompt* too (the decoder has found no place to start).
    """

    def __init__(self, prompt: Sequence[int] = ()) -> None:
        self._held = b"".join(map(piece, filter(_is_text, prompt))) if ends_inside_character(prompt) else b""

    def step(self, token: int) -> str:
        held = self._held + piece(token) if _is_text(token) else self._held
        text = held.decode(errors="replace")
        if text.endswith("\ufffd"):
            self._held = held
            return ""
        self._held = b""
        return text


def _is_text(token: int) -> bool:
    return token < len(_PIECES)
