"""From a prompt's ids to what the engine will generate. Pure: the same prompt gives the same answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from engines.scripted.answers import CANNED, answer_to, filler, title_of
from engines.scripted.deltas import THOUGHT, THOUGHT_END
from engines.scripted.demands import Demand, completed
from engines.scripted.directives import Said, read_message
from engines.scripted.script import Script
from engines.scripted.stops import hold_back
from engines.scripted.template import CALL, Call, Conversation, read
from engines.scripted.tokenizer import IM_END, IncrementalText, decode, encode_literally, ends_inside_character
from engines.scripted.tools import Tool

FinishReason: TypeAlias = Literal["stop", "length"]

NO_DEMAND: Final = Demand()

_TITLE_WANTED: Final = "Answer with a title"

# Loud on purpose: a takeover that lost or doubled a token must be seen in the text.
NOT_A_CONTINUATION: Final = "[the prompt's last tokens are not the beginning of the scripted answer]"


@dataclass(frozen=True, slots=True)
class Wanted:
    max_tokens: int
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    include_stop: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a prompt makes the engine say (`left` ends with the end token), and how."""

    prompt_ids: tuple[int, ...]
    left: tuple[int, ...]
    script: Script


@dataclass(frozen=True, slots=True)
class Generation:
    """`texts[n]` is what `ids[n]` adds to the text; empty inside a character and at the end token."""

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    finish_reason: FinishReason
    stop_reason: int | str | None


def plan(prompt_ids: Sequence[int], posted: Script, demand: Demand = NO_DEMAND) -> Plan:
    """Raises BadDirective, BadGrammar."""
    conversation = read(prompt_ids)
    said = _said(conversation)
    in_band = said.script.continued() if conversation.begun else said.script
    script = posted.overridden_by(in_band)
    answer = _answer(script, said.rest, conversation, demand)
    return Plan(tuple(prompt_ids), _left(answer, conversation), script)


def _said(conversation: Conversation) -> Said:
    # What a tool answered may hold directives as well; those before it have been followed.
    asked = next((m.content for m in reversed(conversation.messages) if m.role in ("user", "tool")), "")
    said = read_message(asked)
    if conversation.messages and conversation.messages[0].content.startswith(_TITLE_WANTED):
        return Said(Script(text=title_of(said.rest)), "")
    return said


def generate(plan: Plan, wanted: Wanted) -> Generation:
    ids, stop_id = _until_stop_id(plan.left[: wanted.max_tokens], wanted.stop_ids)
    # Only then does the prompt matter for the text; without it, texts are cached per answer.
    texts = _texts(ids, plan.prompt_ids if ends_inside_character(plan.prompt_ids) else ())
    if stop_id is not None and not wanted.include_stop:
        texts = (*texts[:-1], "")
    stopped = ids[-1] == IM_END or stop_id is not None
    if wanted.stop:
        texts, matched = hold_back(texts, wanted.stop, include=wanted.include_stop)
        if matched is not None:
            return Generation(plan.prompt_ids, ids[: len(texts)], texts, "stop", matched)
    return Generation(plan.prompt_ids, ids, texts, "stop" if stopped else "length", stop_id)


def _answer(script: Script, asked: str, conversation: Conversation, demand: Demand) -> tuple[int, ...]:
    words = _words(script, asked, conversation, demand)
    if script.reasoning is None:
        return words
    return (*encode_literally(f"{THOUGHT}\n{script.reasoning}\n{THOUGHT_END}\n\n"), *words)


def _words(script: Script, asked: str, conversation: Conversation, demand: Demand) -> tuple[int, ...]:
    if demand.calls:
        return _encoded("\n".join(map(str, _demanded_calls(script, conversation, demand))))
    if script.call is not None:
        calls = map(str, completed(script.call, _tools(conversation)))
        return _encoded("\n".join([*([script.text] if script.text else []), *calls]))
    if script.text is not None:
        return _encoded(script.text)
    if demand.instance is not None:
        return _encoded(demand.instance)
    return _text(script, asked, conversation)


def _text(script: Script, asked: str, conversation: Conversation) -> tuple[int, ...]:
    if script.tokens is not None:
        return _filler(script.tokens)
    if script.answer is not None:
        return _encoded(CANNED[script.answer])
    return _encoded(answer_to(asked, conversation.messages))


def _demanded_calls(script: Script, conversation: Conversation, demand: Demand) -> tuple[Call, ...]:
    """What the script says, as far as the demand allows it; else the first that it names."""
    names = {call.name for call in demand.calls}
    said = [call for call in script.call or () if call.name in names]
    return completed(said, _tools(conversation)) or demand.calls[:1]


def _tools(conversation: Conversation) -> list[Tool]:
    """Those in the prompt: a continuation has no others."""
    return [Tool.model_validate(tool) for tool in conversation.tools]


def _left(answer: tuple[int, ...], conversation: Conversation) -> tuple[int, ...]:
    begun = conversation.begun
    if answer[: len(begun)] == begun:
        return answer[len(begun) :]
    # Continued by text (continue_final_message), or demanded where nothing in the prompt asks for it.
    begun_text = decode(begun)
    texts = (decode(answer[:-1]), *_calls_begun(begun_text, conversation))
    text = next((text for text in texts if text.startswith(begun_text)), begun_text + NOT_A_CONTINUATION)
    whole = _encoded(text)
    return whole[len(begun) :] if whole[: len(begun)] == begun else _encoded(text.removeprefix(begun_text))


def _calls_begun(begun: str, conversation: Conversation) -> Iterator[str]:
    """The calls that could have been demanded."""
    if begun[: len(CALL)] == CALL[: len(begun)]:
        tools = _tools(conversation)
        yield from (str(call) for call in completed((Call(tool.name, "") for tool in tools), tools))


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
