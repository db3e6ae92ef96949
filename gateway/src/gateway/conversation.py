"""What of a conversation is sent to the model: which turns fit, and with what text."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.errors import ContextLengthExceeded
from gateway.protocol.resources import MessageRole


@dataclass(frozen=True, slots=True)
class Prompt:
    """One message as the engine gets it."""

    role: MessageRole
    text: str


Exchange = tuple[Prompt, ...]
"""A whole turn: the user's messages and the answer to them. The window never cuts one in half."""


@dataclass(frozen=True, slots=True)
class Count:
    """The engine's own count: tokens of the rendered prompt, and of the whole context."""

    tokens: int
    limit: int


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a conversation that fits. `room` is what is left for the answer, in tokens; None where unknown."""

    prompts: tuple[Prompt, ...]
    room: int | None
    exchanges_left_out: int = 0


# Control tokens of the model families vLLM serves: <|im_start|>, <|eot_id|>, <s>, </s>, [INST] ... A zero-width space
# behind the first character keeps the words readable and makes the tokenizer see plain text.
_CONTROL = re.compile(r"<(?=\|)|<(?=/?s>)|\[(?=/?INST\])")
_ZERO_WIDTH_SPACE = "\u200b"


def neutralised(text: str) -> str:
    return _CONTROL.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, text)


def exchanges(prompts: Sequence[Prompt]) -> list[Exchange]:
    """Each begins with a user message; a question that was never answered is one by itself."""
    turns: list[list[Prompt]] = []
    for prompt in prompts:
        if not turns or prompt.role == "user":
            turns.append([])
        turns[-1].append(prompt)
    return [tuple(turn) for turn in turns]


def alternating(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Joins neighbours of one role: after a question that was never answered, many chat templates refuse another."""
    joined: list[Prompt] = []
    for prompt in prompts:
        if joined and joined[-1].role == prompt.role:
            joined[-1] = Prompt(prompt.role, f"{joined[-1].text}\n\n{prompt.text}")
        else:
            joined.append(prompt)
    return tuple(joined)


async def fit(
    system: Prompt,
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

    async def leaving_out(oldest: int) -> tuple[Window, Count | None]:
        prompts = alternating([system, *(prompt for turn in turns[oldest:] for prompt in turn)])
        counted = await count(prompts)
        return Window(prompts, counted.limit - counted.tokens if counted else None, oldest), counted

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
