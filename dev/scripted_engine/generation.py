"""From a prompt's ids to what the engine will generate. Pure: the same prompt gives the same answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, TypeAlias

from dev.scripted_engine.answers import CANNED, answer_to, filler
from dev.scripted_engine.directives import read_message
from dev.scripted_engine.script import Script
from dev.scripted_engine.stops import hold_back
from dev.scripted_engine.template import Conversation, read
from dev.scripted_engine.tokenizer import IM_END, IncrementalText, decode, encode_literally, ends_inside_character

FinishReason: TypeAlias = Literal["stop", "length"]

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


def plan(prompt_ids: Sequence[int], posted: Script) -> Plan:
    conversation = read(prompt_ids)
    asked = next((m.content for m in reversed(conversation.messages) if m.role == "user"), "")
    said = read_message(asked)
    in_band = said.script.without_faults() if conversation.begun else said.script
    script = posted.overridden_by(in_band)
    answer = _answer(script, said.rest, conversation)
    return Plan(tuple(prompt_ids), _left(answer, conversation.begun), script)


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


def _answer(script: Script, asked: str, conversation: Conversation) -> tuple[int, ...]:
    if script.text is not None:
        return _encoded(script.text)
    if script.tokens is not None:
        return _filler(script.tokens)
    if script.answer is not None:
        return _encoded(CANNED[script.answer])
    return _encoded(answer_to(asked, conversation.messages))


def _left(answer: tuple[int, ...], begun: tuple[int, ...]) -> tuple[int, ...]:
    if answer[: len(begun)] == begun:
        return answer[len(begun) :]
    # Continued by text (continue_final_message): other tokens, perhaps the same words.
    text, begun_text = decode(answer[:-1]), decode(begun)
    return _encoded(text.removeprefix(begun_text) if text.startswith(begun_text) else NOT_A_CONTINUATION)


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
