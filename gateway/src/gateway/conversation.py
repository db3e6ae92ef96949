"""What of a conversation is sent to the model: which turns fit, and with what text."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.errors import ContextLengthExceeded
from gateway.generation import Prompt, PromptCall, PromptRole
from gateway.protocol.ids import position_in
from gateway.protocol.items import Compaction, FunctionCall, FunctionCallOutput, Item, Message, MessageRole, Reasoning

Exchange = tuple[Prompt, ...]
"""A whole turn: the user's messages and all that answers them. The window never cuts one in half."""


@dataclass(frozen=True, slots=True)
class Count:
    """The engine's own count: tokens of the rendered prompt, and of the whole context."""

    tokens: int
    limit: int


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a conversation that fits. `count` is None where it was proven to fit without one, or the engine
    can not count; `limit` is the whole context in tokens, None where unknown."""

    prompts: tuple[Prompt, ...]
    count: int | None
    limit: int | None
    exchanges_left_out: int = 0

    @property
    def room(self) -> int | None:
        """What is left for the answer, in tokens."""
        return None if self.count is None or self.limit is None else self.limit - self.count


# Control tokens of the model families vLLM serves: <|im_start|>, <|eot_id|>, <s>, </s>, [INST], <tool_call> ... A
# zero-width space behind the first character keeps the words readable and makes the tokenizer see plain text.
_CONTROL = re.compile(r"<(?=\|)|<(?=/?s>)|\[(?=/?INST\])|<(?=/?(?:tool_call|tool_response|tools|think)>)")
_ZERO_WIDTH_SPACE = "\u200b"


def neutralised(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, text)


def prompts(items: Sequence[Item], unsealed: Callable[[Compaction], str]) -> list[Prompt]:
    """`unsealed` reads what a compaction says. Reasoning is never sent again: no chat template expects it."""
    told: list[Prompt] = []
    for item in items:
        match item:
            case Message() if item.text:
                told.append(Prompt(_role(item.role), item.text))
            case FunctionCall():
                told.append(Prompt("assistant", "", (PromptCall(item.call_id, item.name, item.arguments),)))
            case FunctionCallOutput():
                told.append(Prompt("tool", item.output, call_id=item.call_id))
            case Compaction():
                told.append(Prompt("system", unsealed(item)))
            case Message() | Reasoning():
                pass
    return told


def exchanges(told: Sequence[Prompt]) -> list[Exchange]:
    """Each begins with what was asked; a question that was never answered is one by itself."""
    turns: list[list[Prompt]] = []
    for prompt in told:
        asks = prompt.role == "user" or (prompt.role == "system" and turns and turns[-1][-1].role != "system")
        introduced = bool(turns) and all(one.role == "system" for one in turns[-1])
        if not turns or (asks and not introduced):
            turns.append([])
        turns[-1].append(prompt)
    return [tuple(turn) for turn in turns]


def joined(before: Sequence[Prompt], asked: Sequence[Prompt]) -> list[Exchange]:
    """All turns, the last one being what is asked now, which stands or falls together. The result of a function
    belongs to the turn that called it."""
    earlier = exchanges(before)
    if asked and asked[0].role in ("tool", "assistant") and earlier:
        return [*earlier[:-1], (*earlier[-1], *asked)]
    return [*earlier, tuple(asked)]


def alternating(told: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Joins neighbours of one role: after a question that was never answered, many chat templates refuse another."""
    joined: list[Prompt] = []
    for prompt in told:
        last = joined[-1] if joined else None
        if last is None or last.role != prompt.role or prompt.role == "tool":
            joined.append(prompt)
            continue
        text = "\n\n".join(one for one in (last.text, prompt.text) if one)
        joined[-1] = Prompt(prompt.role, text, last.calls + prompt.calls)
    return tuple(joined)


@dataclass(frozen=True, slots=True)
class Measured:
    """The engine's own count of an earlier prompt of a conversation, of which nothing had been left out: its first
    `items` items, the last of them at position `last`. `shape` tells the rest of the prompt: instructions, tools."""

    tokens: int
    limit: int
    items: int
    last: int
    shape: str


def proven(
    measured: Measured | None, shape: str, before: Sequence[Item], added: Callable[[Sequence[Item]], int]
) -> int | None:
    """At most so many tokens `before` needs, of which `added` bounds what came after the count; None: count again.

    An answer that was still running then has a place before `last`, so the number of items must be right too.
    """
    if measured is None or measured.shape != shape:
        return None
    positions = [position_in(item.id) or 0 for item in before]
    covered = [position for position in positions if position <= measured.last]
    if len(covered) != measured.items:
        return None
    return measured.tokens + added(before[len(covered) :])


def most_tokens(told: Sequence[Prompt]) -> int:
    """No tokenizer makes more tokens of a text than it has bytes; each message costs a few more for its frame."""
    return sum(len(neutralised(prompt.text).encode()) + _FRAME_TOKENS + _calls_bytes(prompt) for prompt in told)


# A chat template's own words around one message: 5 in ChatML, 4 in Llama's; some name the role in full.
_FRAME_TOKENS = 32


def _calls_bytes(prompt: Prompt) -> int:
    return sum(len(call.name.encode()) + len(call.arguments.encode()) + 2 * _FRAME_TOKENS for call in prompt.calls)


async def fit(
    system: Prompt | None,
    turns: Sequence[Exchange],
    *,
    count: Callable[[tuple[Prompt, ...]], Awaitable[Count | None]],
    room_wanted: int,
    may_leave_out: bool = True,
) -> Window:
    """The most recent whole turns that leave `room_wanted` tokens for the answer; the system prompt always stays.

    A binary search over the engine's own counts: at most log2(turns) + 2 of them.
    Raises ContextLengthExceeded when the least that may be sent leaves no room at all.
    """
    first = [] if system is None else [system]

    async def leaving_out(oldest: int) -> tuple[Window, Count | None]:
        told = alternating([*first, *(prompt for turn in turns[oldest:] for prompt in turn)])
        counted = await count(told)
        tokens, limit = (None, None) if counted is None else (counted.tokens, counted.limit)
        return Window(told, tokens, limit, oldest), counted

    window, counted = await leaving_out(0)
    if counted is None:
        return window
    wanted = min(room_wanted, counted.limit // 2)
    last = len(turns) - 1 if may_leave_out else 0
    low, high = (0, 0) if counted.limit - counted.tokens >= wanted else (min(1, last), last)
    while low < high:
        middle = (low + high) // 2
        window, counted = await leaving_out(middle)
        if counted and counted.limit - counted.tokens >= wanted:
            high = middle
        else:
            low = middle + 1
    if window.exchanges_left_out != low:
        window, counted = await leaving_out(low)
    if counted and counted.tokens >= counted.limit:
        raise ContextLengthExceeded(counted.tokens, counted.limit)
    return window


def _role(role: MessageRole) -> PromptRole:
    # `developer` would be rendered as a system turn by some templates and refused by others.
    return "system" if role == "developer" else role
