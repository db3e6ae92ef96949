"""Qwen2.5's chat template (without tools: Qwen2's), and the reverse: a conversation from a prompt's token ids."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from engines.scripted.tokenizer import IM_END, IM_START, decode, encode

CALL, CALL_END = "<tool_call>", "</tool_call>"
_RESPONSE, _RESPONSE_END = "<tool_response>\n", "\n</tool_response>"
_DEFAULT_SYSTEM: Final = "You are a helpful assistant."
_ANSWER_HEADER: Final = tuple(encode("assistant\n"))
_BEFORE_TOOLS: Final = (
    "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>\n"
)
_AFTER_TOOLS: Final = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    f"{CALL}{CALL_END} XML tags:\n{CALL}\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n'
    f"{CALL_END}"
)


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    # JSON, in the spacing of `json.dumps`.
    arguments: str

    def __str__(self) -> str:
        return f'{CALL}\n{{"name": "{self.name}", "arguments": {self.arguments}}}\n{CALL_END}'


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversation:
    """A prompt's messages and tools, and the token ids of the answer that it already contains."""

    messages: tuple[Message, ...]
    answer_prefix: tuple[int, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()


def render(
    messages: Sequence[Message],
    tools: Sequence[dict[str, Any]] = (),
    *,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
) -> str:
    """The prompt's text."""
    has_system = messages[0].role == "system"
    system = messages[0].content if has_system else _DEFAULT_SYSTEM
    if tools:
        lines = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
        system = f"{system}{_BEFORE_TOOLS}{lines}{_AFTER_TOOLS}"
    turns = [_turn("system", system), *_turns(messages[1:] if has_system else messages)]
    text = "".join(turns)
    if continue_final_message:
        return text.removesuffix("<|im_end|>\n")
    return text + "<|im_start|>assistant\n" if add_generation_prompt else text


def _turns(messages: Iterable[Message]) -> Iterable[str]:
    for is_response, together in groupby(messages, lambda message: message.role == "tool"):
        if is_response:
            yield _turn("user", "\n".join(f"{_RESPONSE}{one.content}{_RESPONSE_END}" for one in together))
        else:
            yield from (_turn(one.role, "\n".join(_parts(one))) for one in together)


def _parts(message: Message) -> Iterable[str]:
    if message.content or not message.calls:
        yield message.content
    yield from map(str, message.calls)


def _turn(role: str, content: str) -> str:
    return f"<|im_start|>{role}\n{content}<|im_end|>\n"


def parse_prompt(ids: Sequence[int]) -> Conversation:
    """The conversation of a rendered prompt; any other prompt is one user message."""
    starts = [place for place, token in enumerate(ids) if token == IM_START]
    if not starts:
        return Conversation((Message("user", decode(ids)),))
    blocks = [tuple(ids[start + 1 : end]) for start, end in zip(starts, [*starts[1:], None], strict=True)]
    last = blocks[-1]
    answer_prefix: tuple[int, ...] = ()
    if last[: len(_ANSWER_HEADER)] == _ANSWER_HEADER and IM_END not in last:
        del blocks[-1]
        answer_prefix = last[len(_ANSWER_HEADER) :]
    messages = tuple(_messages(blocks))
    return Conversation(messages, answer_prefix, _tools_in(messages[0].content) if messages else ())


def _messages(blocks: Iterable[tuple[int, ...]]) -> Iterable[Message]:
    for block in blocks:
        closed = block.index(IM_END) if IM_END in block else len(block)
        role, _, content = decode(block[:closed]).partition("\n")
        if role == "user" and content.startswith(_RESPONSE):
            responses = content.removeprefix(_RESPONSE).removesuffix(_RESPONSE_END)
            yield Message("tool", responses.replace(f"{_RESPONSE_END}\n{_RESPONSE}", "\n"))
        else:
            yield Message(role, content)


def _tools_in(system: str) -> tuple[dict[str, Any], ...]:
    """Empty if a control token in a tool has ended the message early."""
    _, marker, rest = system.partition(_BEFORE_TOOLS)
    try:
        return tuple(map(json.loads, rest.removesuffix(_AFTER_TOOLS).split("\n"))) if marker else ()
    except json.JSONDecodeError:
        return ()
