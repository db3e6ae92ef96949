"""Qwen2's chat template, and the way back from a prompt's token ids to the conversation."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from dev.scripted_engine.tokenizer import IM_END, IM_START, decode, encode

_DEFAULT_SYSTEM: Final = "You are a helpful assistant."
_ANSWER_HEADER: Final = tuple(encode("assistant\n"))


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a prompt says: its messages, and the ids of the answer that it already holds."""

    messages: tuple[Message, ...]
    begun: tuple[int, ...] = ()


def render(messages: Sequence[Message], *, prompt_for_answer: bool = True, open_ended: bool = False) -> str:
    """The prompt's text. `open_ended` leaves the last message unfinished (vLLM's continue_final_message)."""
    turns = list(messages)
    if turns[0].role != "system":
        turns.insert(0, Message("system", _DEFAULT_SYSTEM))
    text = "".join(f"<|im_start|>{turn.role}\n{turn.content}<|im_end|>\n" for turn in turns)
    if open_ended:
        return text.removesuffix("<|im_end|>\n")
    return text + "<|im_start|>assistant\n" if prompt_for_answer else text


def read(ids: Sequence[int]) -> Conversation:
    """The conversation of a rendered prompt; a prompt that is none is one user message."""
    starts = [place for place, token in enumerate(ids) if token == IM_START]
    if not starts:
        return Conversation((Message("user", decode(ids)),))
    blocks = [tuple(ids[start + 1 : end]) for start, end in zip(starts, [*starts[1:], None], strict=True)]
    last = blocks[-1]
    if last[: len(_ANSWER_HEADER)] == _ANSWER_HEADER and IM_END not in last:
        return Conversation(tuple(_messages(blocks[:-1])), last[len(_ANSWER_HEADER) :])
    return Conversation(tuple(_messages(blocks)))


def _messages(blocks: Iterable[tuple[int, ...]]) -> Iterable[Message]:
    for block in blocks:
        closed = block.index(IM_END) if IM_END in block else len(block)
        role, _, content = decode(block[:closed]).partition("\n")
        yield Message(role, content)
