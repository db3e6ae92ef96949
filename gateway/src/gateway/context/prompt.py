"""What of a conversation is sent to the model: which turns fit, and with what text."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from gateway.context.control_tokens import neutralise
from gateway.errors import ContextLengthExceeded
from gateway.inference import PromptMessage, PromptRole, PromptToolCall
from gateway.protocol.ids import position_in
from gateway.protocol.items import Compaction, FunctionCall, FunctionCallOutput, Item, Message, MessageRole, Reasoning

Exchange = tuple[PromptMessage, ...]
"""A whole turn: the user's messages and all that answers them. The window never cuts one in half."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The engine's own count: tokens of the rendered prompt, and of the whole context."""

    tokens: int
    limit: int


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """The part of a conversation that fits. `count` is None where it was proven to fit without one, or the engine
    can not count; `limit` is the whole context in tokens, None where unknown."""

    prompts: tuple[PromptMessage, ...]
    count: int | None
    limit: int | None
    exchanges_left_out: int = 0

    @property
    def room(self) -> int | None:
        """What is left for the answer, in tokens."""
        return None if self.count is None or self.limit is None else self.limit - self.count


def prompts(items: Sequence[Item], unsealed: Callable[[Compaction], str]) -> list[PromptMessage]:
    """`unsealed` reads what a compaction says. Reasoning is never sent again: no chat template expects it."""
    told: list[PromptMessage] = []
    for item in items:
        match item:
            case Message() if item.text:
                told.append(PromptMessage(_role(item.role), item.text))
            case FunctionCall():
                told.append(PromptMessage("assistant", "", (PromptToolCall(item.call_id, item.name, item.arguments),)))
            case FunctionCallOutput():
                told.append(PromptMessage("tool", item.output, call_id=item.call_id))
            case Compaction():
                told.append(PromptMessage("system", unsealed(item)))
            case Message() | Reasoning():
                pass
    return told


def exchanges(told: Sequence[PromptMessage]) -> list[Exchange]:
    """Each begins with what was asked, or with what was told the model before that; a question that was never answered
    is one by itself."""
    turns: list[list[PromptMessage]] = []
    introduces = False  # so far the last one is nothing but what the model is told
    for prompt in told:
        asks = prompt.role == "user" or (prompt.role == "system" and turns and turns[-1][-1].role != "system")
        if not turns or (asks and not introduces):
            turns.append([])
            introduces = True
        turns[-1].append(prompt)
        introduces = introduces and prompt.role == "system"
    return [tuple(turn) for turn in turns]


@dataclass(frozen=True, slots=True)
class PromptHistory:
    """A whole conversation. Its `head`, what the model was told before anything was asked, belongs to no turn: it is
    sent as long as the conversation lasts. The last of the turns is what is asked now."""

    head: tuple[PromptMessage, ...]
    turns: tuple[Exchange, ...]


def joined(before: Sequence[PromptMessage], asked: Sequence[PromptMessage]) -> PromptHistory:
    """What is asked now stands or falls together. The result of a function belongs to the turn that called it."""
    head = tuple(takewhile(lambda prompt: prompt.role == "system", before))
    earlier = exchanges(before[len(head) :])
    if asked and asked[0].role in ("tool", "assistant") and earlier:
        return PromptHistory(head, (*earlier[:-1], (*earlier[-1], *asked)))
    return PromptHistory(head, (*earlier, tuple(asked)))


def alternating(told: Sequence[PromptMessage]) -> tuple[PromptMessage, ...]:
    """Joins neighbours of one role: after a question that was never answered, many chat templates refuse another."""
    runs: list[list[PromptMessage]] = []
    for prompt in told:
        if not runs or runs[-1][-1].role != prompt.role or prompt.role == "tool":
            runs.append([])
        runs[-1].append(prompt)
    return tuple(run[0] if len(run) == 1 else _one(run) for run in runs)


def _one(run: Sequence[PromptMessage]) -> PromptMessage:
    text = "\n\n".join(prompt.text for prompt in run if prompt.text)
    return PromptMessage(run[0].role, text, tuple(call for prompt in run for call in prompt.calls))


@dataclass(frozen=True, slots=True)
class TokenCountCheckpoint:
    """The engine's own count of an earlier prompt of a conversation, of which nothing had been left out: its first
    `items` items, the last of them at position `last`. `shape` tells the rest of the prompt: instructions, tools."""

    tokens: int
    limit: int
    items: int
    last: int
    shape: str


def reuse_token_count(
    measured: TokenCountCheckpoint | None, shape: str, before: Sequence[Item], added: Callable[[Sequence[Item]], int]
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


def max_token_bound(told: Sequence[PromptMessage]) -> int:
    """No tokenizer makes more tokens of a text than it has bytes; each message costs a few more for its frame."""
    return sum(len(neutralise(prompt.text).encode()) + _FRAME_TOKENS + _calls_bytes(prompt) for prompt in told)


# A chat template's own words around one message: 5 in ChatML, 4 in Llama's; some name the role in full.
_FRAME_TOKENS = 32


def _calls_bytes(prompt: PromptMessage) -> int:
    return sum(len(call.name.encode()) + len(call.arguments.encode()) + 2 * _FRAME_TOKENS for call in prompt.calls)


# Of a long conversation the most recent part is counted first: all of it may be a hundred times what fits.
EXCHANGES_COUNTED_FIRST = 200


async def fit(
    head: Sequence[PromptMessage],
    turns: Sequence[Exchange],
    *,
    count: Callable[[tuple[PromptMessage, ...]], Awaitable[TokenCount | None]],
    room_wanted: int,
    may_leave_out: bool = True,
    counted_first: int = EXCHANGES_COUNTED_FIRST,
) -> ContextWindow:
    """The most recent whole turns that leave `room_wanted` tokens for the answer; the head always stays.

    A search over the engine's own counts: one where everything fits, else at most log2(turns) + 2 of them, and one more
    each time that `counted_first` turns have to be doubled.
    Raises ContextLengthExceeded when the least that may be sent leaves no room at all.
    """
    counted: dict[int, ContextWindow] = {}

    async def sending(most_recent: int) -> ContextWindow:
        if most_recent not in counted:
            oldest = len(turns) - most_recent
            told = alternating([*head, *(prompt for turn in turns[oldest:] for prompt in turn)])
            known = await count(told)
            tokens, limit = (None, None) if known is None else (known.tokens, known.limit)
            counted[most_recent] = ContextWindow(told, tokens, limit, oldest)
        return counted[most_recent]

    async def leaves_room(most_recent: int) -> bool:
        window = await sending(most_recent)
        if window.room is None or window.limit is None:
            return True
        return window.room >= (min(room_wanted, window.limit // 2) if may_leave_out else 1)

    least, sent = min(1, len(turns)), min(len(turns), counted_first)
    while await leaves_room(sent) and sent < len(turns):
        least, sent = sent, min(len(turns), 2 * sent)
    if may_leave_out and not await leaves_room(sent):
        sent -= 1
        while least < sent:
            middle = (least + sent + 1) // 2
            if await leaves_room(middle):
                least = middle
            else:
                sent = middle - 1
        sent = least
    window = await sending(sent)
    if window.room is not None and window.room <= 0:
        raise ContextLengthExceeded(window.count, window.limit)
    return window


def _role(role: MessageRole) -> PromptRole:
    # `developer` would be rendered as a system turn by some templates and refused by others.
    return "system" if role == "developer" else role
