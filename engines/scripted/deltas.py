"""An answer's text as vLLM 0.32's parsers (`hermes` for calls, one for reasoning) split it, token by token.

The model's text is one stream of characters that contains `<think>..</think>` and `<tool_call>..</tool_call>`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from engines.scripted.template import CALL, CALL_END

THINK, THINK_END = "<think>", "</think>"
_NAME = re.compile(r'"name"\s*:\s*"([^"]+)"')
_ARGUMENTS = re.compile(r'"arguments"\s*:\s*')


@dataclass(frozen=True, slots=True)
class CallPiece:
    """The start of a call (its name) or a piece of its arguments."""

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


EMPTY = Delta()


@lru_cache(maxsize=256)
def deltas(texts: tuple[str, ...], *, calls: bool) -> tuple[Delta, ...]:
    """One for each of an answer's texts. Without `calls`, a call is ordinary text."""
    reasoning, rest = _split_reasoning(texts)
    contents = _split_calls(rest) if calls else (Delta(content=text) for text in rest)
    return tuple(thought + content for thought, content in zip(reasoning, contents, strict=True))


def _split_reasoning(texts: Sequence[str]) -> tuple[list[Delta], list[str]]:
    """The reasoning in each text, and the rest of each text."""
    whole = "".join(texts)
    if not whole.startswith(THINK):
        return [EMPTY] * len(texts), list(texts)
    end = whole.find(THINK_END)
    stop = len(whole) if end == -1 else end
    resumed = len(whole) if end == -1 else end + len(THINK_END)
    reasoning, rest, place = [], [], 0
    for text in texts:
        following = place + len(text)
        reasoning.append(Delta(reasoning=whole[max(place, len(THINK)) : min(following, stop)]))
        rest.append(whole[max(place, resumed) : following])
        place = following
    return reasoning, rest


def _split_calls(texts: Sequence[str]) -> Iterator[Delta]:
    parser, so_far = _CallParser(), ""
    for text in texts:
        so_far += text
        yield parser.feed(so_far) if text else EMPTY


class _CallParser:
    """Remembers what the stream has already sent; as in vLLM, whitespace waits for what follows it."""

    def __init__(self) -> None:
        self._content_sent = 0
        self._names_sent = 0
        self._arguments: list[str] = []

    def feed(self, text: str) -> Delta:
        """`text` is the whole text so far."""
        first_call = text.find(CALL)
        until = first_call if first_call != -1 else len(text) - _overlap(text, CALL)
        content, self._content_sent = text[self._content_sent : until], max(until, self._content_sent)
        return Delta(content=content, calls=tuple(self._calls(text, first_call)))

    def _calls(self, text: str, position: int) -> Iterator[CallPiece]:
        index = 0
        while position != -1:
            start = position + len(CALL)
            end = text.find(CALL_END, start)
            body = text[start:end] if end != -1 else text[start : len(text) - _overlap(text[start:], CALL_END)]
            yield from self._call(index, body.strip())
            index, position = index + 1, text.find(CALL, end) if end != -1 else -1

    def _call(self, index: int, body: str) -> Iterator[CallPiece]:
        if index == self._names_sent and (name := _NAME.search(body)):
            self._names_sent += 1
            self._arguments.append("")
            yield CallPiece(index, name=name[1])
        found = _ARGUMENTS.search(body)
        if index < self._names_sent and found:
            arguments = _without_outer_brace(body[found.end() :])
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
    """How many characters at the end may be the start of the tag."""
    return next((size for size in range(len(tag) - 1, 0, -1) if text.endswith(tag[:size])), 0)
