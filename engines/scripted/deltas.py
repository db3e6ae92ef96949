"""What vLLM 0.32's parsers (`hermes` for calls, one for reasoning) make of an answer's text, token by token.

The model's text is one stream of characters: `<think>..</think>` and `<tool_call>..</tool_call>` are in it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from engines.scripted.template import CALL, CALL_END

THOUGHT, THOUGHT_END = "<think>", "</think>"
_NAME = re.compile(r'"name"\s*:\s*"([^"]+)"')
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*')


@dataclass(frozen=True, slots=True)
class CallPiece:
    """The beginning of a call (its name) or a piece of its arguments."""

    index: int
    name: str | None = None
    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    content: str = ""
    reasoning: str = ""
    calls: tuple[CallPiece, ...] = ()

    def __add__(self, other: "Delta") -> "Delta":
        calls = list(self.calls)
        for piece in other.calls:
            if calls and calls[-1].index == piece.index and calls[-1].arguments and piece.arguments:
                calls[-1] = replace(piece, arguments=calls[-1].arguments + piece.arguments)
            else:
                calls.append(piece)
        return Delta(self.content + other.content, self.reasoning + other.reasoning, tuple(calls))


NOTHING = Delta()


@lru_cache(maxsize=256)
def deltas(texts: tuple[str, ...], *, calls: bool) -> tuple[Delta, ...]:
    """One for each of an answer's texts. Without `calls` a call is text like any other."""
    thoughts, rest = _split_thoughts(texts)
    spoken = _with_calls(rest) if calls else (Delta(content=text) for text in rest)
    return tuple(thought + said for thought, said in zip(thoughts, spoken, strict=True))


def _split_thoughts(texts: Sequence[str]) -> tuple[list[Delta], list[str]]:
    """The reasoning of each text, and what else is in it."""
    whole = "".join(texts)
    if not whole.startswith(THOUGHT):
        return [NOTHING] * len(texts), list(texts)
    end = whole.find(THOUGHT_END)
    stop = len(whole) if end == -1 else end
    resumed = len(whole) if end == -1 else end + len(THOUGHT_END)
    thoughts, rest, place = [], [], 0
    for text in texts:
        following = place + len(text)
        thoughts.append(Delta(reasoning=whole[max(place, len(THOUGHT)) : min(following, stop)]))
        rest.append(whole[max(place, resumed) : following])
        place = following
    return thoughts, rest


def _with_calls(texts: Sequence[str]) -> Iterator[Delta]:
    told, said = _Told(), ""
    for text in texts:
        said += text
        yield told.more(said) if text else NOTHING


class _Told:
    """What a stream has told so far; as in vLLM, whitespace waits for what follows it."""

    def __init__(self) -> None:
        self._content = 0
        self._named = 0
        self._arguments: list[str] = []

    def more(self, said: str) -> Delta:
        begins = said.find(CALL)
        until = begins if begins != -1 else len(said) - _overlap(said, CALL)
        content, self._content = said[self._content : until], max(until, self._content)
        return Delta(content=content, calls=tuple(self._calls(said, begins)))

    def _calls(self, said: str, begins: int) -> Iterator[CallPiece]:
        index = 0
        while begins != -1:
            start = begins + len(CALL)
            end = said.find(CALL_END, start)
            written = said[start:end] if end != -1 else said[start : len(said) - _overlap(said[start:], CALL_END)]
            yield from self._call(index, written.strip())
            index, begins = index + 1, said.find(CALL, end) if end != -1 else -1

    def _call(self, index: int, written: str) -> Iterator[CallPiece]:
        if index == self._named and (name := _NAME.search(written)):
            self._named += 1
            self._arguments.append("")
            yield CallPiece(index, name=name[1])
        found = _ARGUMENTS.search(written)
        if index < self._named and found:
            arguments = _without_outer_brace(written[found.end() :])
            if len(arguments) > len(self._arguments[index]):
                yield CallPiece(index, arguments=arguments[len(self._arguments[index]) :])
                self._arguments[index] = arguments


def _without_outer_brace(text: str) -> str:
    """The arguments without the brace that closes the whole call."""
    depth, quoted, escaped = 0, False, False
    for place, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = quoted
        elif character == '"':
            quoted = not quoted
        elif not quoted:
            depth += (character in "{[") - (character in "}]")
            if depth < 0:
                return text[:place].rstrip()
    return text


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end may begin the tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
