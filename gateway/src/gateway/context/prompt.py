"""What of a conversation is sent to the model: which turns fit, and with what text."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from gateway.context.control_tokens import neutralised
from gateway.errors import ContextLengthExceeded
from gateway.inference import Prompt, PromptCall, PromptRole
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
    """Each begins with what was asked, or with what was told the model before that; a question that was never answered
    is one by itself."""
    turns: list[list[Prompt]] = []
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
class Told:
    """A whole conversation. Its `head`, what the model was told before anything was asked, belongs to no turn: it is
    sent as long as the conversation lasts. The last of the turns is what is asked now."""

    head: tuple[Prompt, ...]
    turns: tuple[Exchange, ...]


def joined(before: Sequence[Prompt], asked: Sequence[Prompt]) -> Told:
    """What is asked now stands or falls together. The result of a function belongs to the turn that called it."""
    head = tuple(takewhile(lambda prompt: prompt.role == "system", before))
    earlier = exchanges(before[len(head) :])
    if asked and asked[0].role in ("tool", "assistant") and earlier:
        return Told(head, (*earlier[:-1], (*earlier[-1], *asked)))
    return Told(head, (*earlier, tuple(asked)))


def alternating(told: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Joins neighbours of one role: after a question that was never answered, many chat templates refuse another."""
    runs: list[list[Prompt]] = []
    for prompt in told:
        if not runs or runs[-1][-1].role != prompt.role or prompt.role == "tool":
            runs.append([])
        runs[-1].append(prompt)
    return tuple(run[0] if len(run) == 1 else _one(run) for run in runs)


def _one(run: Sequence[Prompt]) -> Prompt:
    text = "\n\n".join(prompt.text for prompt in run if prompt.text)
    return Prompt(run[0].role, text, tuple(call for prompt in run for call in prompt.calls))


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


# Of a long conversation the most recent part is counted first: all of it may be a hundred times what fits.
TURNS_COUNTED_FIRST = 200


async def fit(
    head: Sequence[Prompt],
    turns: Sequence[Exchange],
    *,
    count: Callable[[tuple[Prompt, ...]], Awaitable[Count | None]],
    room_wanted: int,
    may_leave_out: bool = True,
    counted_first: int = TURNS_COUNTED_FIRST,
) -> Window:
    """The most recent whole turns that leave `room_wanted` tokens for the answer; the head always stays.

    A search over the engine's own counts: one where everything fits, else at most log2(turns) + 2 of them, and one more
    each time that `counted_first` turns have to be doubled.
    Raises ContextLengthExceeded when the least that may be sent leaves no room at all.
    """
    counted: dict[int, Window] = {}

    async def sending(most_recent: int) -> Window:
        if most_recent not in counted:
            oldest = len(turns) - most_recent
            told = alternating([*head, *(prompt for turn in turns[oldest:] for prompt in turn)])
            known = await count(told)
            tokens, limit = (None, None) if known is None else (known.tokens, known.limit)
            counted[most_recent] = Window(told, tokens, limit, oldest)
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
