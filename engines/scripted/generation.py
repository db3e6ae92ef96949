"""From a prompt's token ids to the engine's output. Pure: the same prompt gives the same answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from engines.scripted.answers import CANNED, answer_to, filler, title_of
from engines.scripted.constraints import Constraint, with_arguments
from engines.scripted.deltas import THINK, THINK_END
from engines.scripted.directives import ParsedMessage, parse_message
from engines.scripted.script import Script
from engines.scripted.stops import hold_back
from engines.scripted.template import CALL, Call, Conversation, parse_prompt
from engines.scripted.tokenizer import IM_END, IncrementalText, decode, encode_literally, ends_inside_character
from engines.scripted.tools import Tool

FinishReason: TypeAlias = Literal["stop", "length"]

UNCONSTRAINED: Final = Constraint()

_TITLE_INSTRUCTION: Final = "Answer with a title"

# Deliberately visible: a takeover that lost or doubled a token must show in the text.
NOT_A_CONTINUATION: Final = "[the prompt's last tokens are not the beginning of the scripted answer]"


@dataclass(frozen=True, slots=True)
class StopConditions:
    max_tokens: int
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    include_stop: bool = False


@dataclass(frozen=True, slots=True)
class PlannedAnswer:
    """The token ids that a prompt leads to (`remaining` ends with the end token), and their script."""

    prompt_ids: tuple[int, ...]
    remaining: tuple[int, ...]
    script: Script


@dataclass(frozen=True, slots=True)
class Generation:
    """`texts[n]` is the text that `ids[n]` completes; empty inside a character and at the end token."""

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    finish_reason: FinishReason
    stop_reason: int | str | None


def plan(prompt_ids: Sequence[int], posted: Script, constraint: Constraint = UNCONSTRAINED) -> PlannedAnswer:
    """Raises BadDirective, BadGrammar."""
    conversation = parse_prompt(prompt_ids)
    message = _last_message(conversation)
    in_band = message.script.for_continuation() if conversation.answer_prefix else message.script
    script = posted.overridden_by(in_band)
    answer = _answer(script, message.rest, conversation, constraint)
    return PlannedAnswer(tuple(prompt_ids), _remaining(answer, conversation), script)


def _last_message(conversation: Conversation) -> ParsedMessage:
    # A tool's answer may contain directives too; those before it have already been applied.
    content = next((m.content for m in reversed(conversation.messages) if m.role in ("user", "tool")), "")
    message = parse_message(content)
    if conversation.messages and conversation.messages[0].content.startswith(_TITLE_INSTRUCTION):
        return ParsedMessage(Script(text=title_of(message.rest)), "")
    return message


def generate(plan: PlannedAnswer, conditions: StopConditions) -> Generation:
    ids, stop_id = _until_stop_id(plan.remaining[: conditions.max_tokens], conditions.stop_ids)
    # The text depends on the prompt only if the prompt ends inside a character; otherwise texts are cached per answer.
    texts = _texts(ids, plan.prompt_ids if ends_inside_character(plan.prompt_ids) else ())
    if stop_id is not None and not conditions.include_stop:
        texts = (*texts[:-1], "")
    stopped = ids[-1] == IM_END or stop_id is not None
    if conditions.stop:
        texts, matched = hold_back(texts, conditions.stop, include=conditions.include_stop)
        if matched is not None:
            return Generation(plan.prompt_ids, ids[: len(texts)], texts, "stop", matched)
    return Generation(plan.prompt_ids, ids, texts, "stop" if stopped else "length", stop_id)


def _answer(script: Script, message: str, conversation: Conversation, constraint: Constraint) -> tuple[int, ...]:
    content = _content(script, message, conversation, constraint)
    if script.reasoning is None:
        return content
    return (*encode_literally(f"{THINK}\n{script.reasoning}\n{THINK_END}\n\n"), *content)


def _content(script: Script, message: str, conversation: Conversation, constraint: Constraint) -> tuple[int, ...]:
    if constraint.calls:
        return _encoded("\n".join(map(str, _forced_calls(script, conversation, constraint))))
    if script.call is not None:
        calls = map(str, with_arguments(script.call, _tools(conversation)))
        return _encoded("\n".join([*([script.text] if script.text else []), *calls]))
    if script.text is not None:
        return _encoded(script.text)
    if constraint.instance is not None:
        return _encoded(constraint.instance)
    return _text(script, message, conversation)


def _text(script: Script, message: str, conversation: Conversation) -> tuple[int, ...]:
    if script.tokens is not None:
        return _filler(script.tokens)
    if script.answer is not None:
        return _encoded(CANNED[script.answer])
    return _encoded(answer_to(message, conversation.messages))


def _forced_calls(script: Script, conversation: Conversation, constraint: Constraint) -> tuple[Call, ...]:
    """The script's calls that the constraint allows; otherwise the first allowed call."""
    names = {call.name for call in constraint.calls}
    allowed = [call for call in script.call or () if call.name in names]
    return with_arguments(allowed, _tools(conversation)) or constraint.calls[:1]


def _tools(conversation: Conversation) -> list[Tool]:
    """The tools in the prompt: a continuation has no others."""
    return [Tool.model_validate(tool) for tool in conversation.tools]


def _remaining(answer: tuple[int, ...], conversation: Conversation) -> tuple[int, ...]:
    prefix = conversation.answer_prefix
    if answer[: len(prefix)] == prefix:
        return answer[len(prefix) :]
    # Continued by text (continue_final_message), or a forced call that nothing in the prompt asks for.
    prefix_text = decode(prefix)
    texts = (decode(answer[:-1]), *_calls_starting_with(prefix_text, conversation))
    text = next((text for text in texts if text.startswith(prefix_text)), prefix_text + NOT_A_CONTINUATION)
    whole = _encoded(text)
    return whole[len(prefix) :] if whole[: len(prefix)] == prefix else _encoded(text.removeprefix(prefix_text))


def _calls_starting_with(prefix: str, conversation: Conversation) -> Iterator[str]:
    """The calls that could have been forced."""
    if prefix[: len(CALL)] == CALL[: len(prefix)]:
        tools = _tools(conversation)
        yield from (str(call) for call in with_arguments((Call(tool.name, "") for tool in tools), tools))


def _until_stop_id(ids: tuple[int, ...], stop_ids: frozenset[int]) -> tuple[tuple[int, ...], int | None]:
    for place, token in enumerate(ids) if stop_ids else ():
        if token in stop_ids and token != IM_END:
            return ids[: place + 1], token
    return ids, None


@lru_cache(maxsize=256)
def _encoded(text: str) -> tuple[int, ...]:
    return (*encode_literally(text), IM_END)


@lru_cache(maxsize=64)
def _filler(tokens: int) -> tuple[int, ...]:
    return (*filler(tokens - 1), IM_END)


@lru_cache(maxsize=256)
def _texts(ids: tuple[int, ...], prompt_ids: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(map(IncrementalText(prompt_ids).step, ids))
