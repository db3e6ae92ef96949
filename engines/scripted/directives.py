"""Parses directives (their grammar is in the package's docstring) into a `Script`."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engines.scripted.answers import CANNED
from engines.scripted.errors import BadDirective
from engines.scripted.script import NAMES, POSTED_ONLY, Cut, Failure, Script, Stall
from engines.scripted.template import Call

# Brackets that do not start with a directive's name are the user's own: a matrix, a wiki link.
_IN_BAND: Final = re.compile(rf"\[\[\s*((?:{'|'.join(NAMES)})=.*?)\]\]", re.DOTALL)
# Free text comes last: first reasoning, then text.
_FREE: Final = {name: re.compile(rf"(?:^|\s){name}=(.*)\Z", re.DOTALL) for name in ("text", "reasoning")}
_ARGUMENTS: Final = re.compile(r"(?:^|\s)args=")


@dataclass(frozen=True, slots=True)
class ParsedMessage:
    """A user message, split into the script and the remaining text."""

    script: Script
    rest: str


def parse_message(content: str) -> ParsedMessage:
    found = _IN_BAND.search(content)
    if found is None:
        return ParsedMessage(Script(), content)
    script = parse(found[1])
    if posted := sorted(name for name in POSTED_ONLY if getattr(script, name) is not None):
        raise BadDirective(f"{', '.join(posted)}: only in a script posted to /script, not in a prompt")
    return ParsedMessage(script, (content[: found.start()] + content[found.end() :]).strip())


def parse(line: str) -> Script:
    values: dict[str, Any] = {}
    for name, pattern in _FREE.items():
        if found := pattern.search(line):
            values[name] = found[1].strip()
            line = line[: found.start()]
    before, *argument_values = _split_arguments(line)
    _read_words(before, values)
    for arguments, rest in argument_values:
        if not values.get("call") or values["call"][-1].arguments:
            raise BadDirective("args: expected call=NAME before it")
        values["call"] = (*values["call"][:-1], Call(values["call"][-1].name, arguments))
        _read_words(rest, values)
    return Script(**values)


def _split_arguments(line: str) -> Iterator[Any]:
    """The text before the first args=, then each JSON value with the text after it."""
    found = _ARGUMENTS.search(line)
    yield line[: found.start()] if found else line
    while found:
        try:
            arguments, end = json.JSONDecoder().raw_decode(line, found.end())
        except ValueError as exc:
            raise BadDirective(f"args: expected JSON, got {line[found.end() :]!r}") from exc
        found = _ARGUMENTS.search(line, end)
        yield json.dumps(arguments, ensure_ascii=False), line[end : found.start()] if found else line[end:]


def _read_words(line: str, values: dict[str, Any]) -> None:
    for word in line.split():
        name, equals, value = word.partition("=")
        if name not in _READ or not equals:
            raise BadDirective(f"expected name=value with a name of {', '.join(NAMES)}; got {word!r}")
        read = _READ[name](name, value)
        values[name] = (*values.get(name, ()), read) if name in _SEVERAL else read


def _call(name: str, value: str) -> Call:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise BadDirective(f"{name}: expected the name of a function, got {value!r}")
    return Call(value, "")


def _count(name: str, value: str) -> int:
    if not value.isdecimal():
        raise BadDirective(f"{name}: expected a whole number, got {value!r}")
    return int(value)


def _seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", value):
        raise BadDirective(f"{name}: expected seconds such as 0.5, got {value!r}")
    return float(value)


def _tokens(name: str, value: str) -> int:
    if not (count := _count(name, value)):
        raise BadDirective("tokens: an answer has at least one token, its end")
    return count


def _status(name: str, value: str) -> int:
    if not 400 <= (code := _count(name, value)) <= 599:
        raise BadDirective(f"{name}: expected 400 to 599, got {code}")
    return code


def _one_of(*allowed: str) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value not in allowed:
            raise BadDirective(f"{name}: expected one of {', '.join(allowed)}; got {value!r}")
        return value

    return read


def _keyed(name: str, value: str, known: Mapping[str, Callable[[str, str], Any]]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for part in value.split(","):
        key, colon, item = part.partition(":")
        if key not in known or not colon:
            raise BadDirective(f"{name}: expected key:value with a key of {', '.join(known)}; got {part!r}")
        read[key] = known[key](f"{name} {key}", item)
    if "after" not in read:
        raise BadDirective(f"{name}: expected after:N; got {value!r}")
    return read


def _stall(name: str, value: str) -> Stall:
    keys = _keyed(name, value, {"after": _count, "for": _seconds})
    if "for" not in keys:
        raise BadDirective(f"stall: expected after:N,for:S; got {value!r}")
    return Stall(keys["after"], keys["for"])


def _cut(name: str, value: str) -> Cut:
    inside, by = _one_of("line", "char", "gap"), _one_of("close", "reset", "end")
    return Cut(**_keyed(name, value, {"after": _count, "inside": inside, "by": by}))


def _failure(name: str, value: str) -> Failure:
    return Failure(**_keyed(name, value, {"after": _count}))


_SEVERAL: Final = frozenset({"stall", "call"})
_READ: Final[dict[str, Callable[[str, str], Any]]] = {
    "answer": _one_of(*CANNED),
    "call": _call,
    "tokens": _tokens,
    "pace": _seconds,
    "first": _seconds,
    "hold": _seconds,
    "stall": _stall,
    "cut": _cut,
    "error": _failure,
    "status": _status,
    "refuse": lambda name, value: _one_of("1")(name, value) == "1",
    "times": _count,
    "on": _one_of("generate", "all"),
}
