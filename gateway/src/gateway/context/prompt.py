"""What of a conversation is sent to the model: which exchanges fit into its context, and with what text."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import msgspec

from gateway.context.control_tokens import neutralised_bytes_bound
from gateway.errors import ContextLengthExceeded
from gateway.inference import PromptMessage, PromptRole, PromptToolCall, TokenizedPrompt
from gateway.protocol.ids import position_in
from gateway.protocol.items import Compaction, FunctionCall, FunctionCallOutput, Item, Message, MessageRole, Reasoning

Exchange = tuple[PromptMessage, ...]
"""The user's messages and everything that answers them. The context window never cuts one in half."""

# The newest part of a long conversation is counted first: all of it may be a thousand times what fits, and the engine's
# tokenizer is shared by all users. A token of English has about four characters, and one of Chinese one or two.
_CHARACTERS_PER_TOKEN = 4
# Of a context whose length is unknown.
_USUAL_CONTEXT_TOKENS = 32_768
# A chat template's own tokens around one message: 5 in ChatML, 4 in Llama's; some spell the role out.
_TEMPLATE_TOKENS = 32


@dataclass(frozen=True, slots=True)
class ContextWindow:
    """The part of a conversation that fits. `count` is None where a bound proved that it fits, or the engine cannot
    count. `limit` is the model's whole context in tokens, None where unknown."""

    messages: tuple[PromptMessage, ...]
    count: int | None
    limit: int | None
    exchanges_left_out: int = 0

    @property
    def room(self) -> int | None:
        """What is left for the answer, in tokens."""
        return None if self.count is None or self.limit is None else self.limit - self.count


@dataclass(frozen=True, slots=True)
class PromptHistory:
    """A whole conversation. The `head`, the instructions before the first question, belongs to no exchange and is
    always sent. The last exchange is the new input."""

    head: tuple[PromptMessage, ...]
    exchanges: tuple[Exchange, ...]


class TokenCountCheckpoint(
    msgspec.Struct,
    frozen=True,
    # Stored as JSON with each conversation.
    rename={
        "token_count": "tokens",
        "context_limit": "limit",
        "item_count": "items",
        "last_position": "last",
        "prompt_digest": "shape",
    },
):
    """The engine's own count of an earlier, complete prompt of a conversation: its first `item_count` items, the last
    one at `last_position`. `prompt_digest` identifies the rest of the prompt: instructions and tools."""

    token_count: int
    context_limit: int
    item_count: int
    last_position: int
    prompt_digest: str


def prompt_messages(items: Sequence[Item], decrypt: Callable[[Compaction], str]) -> list[PromptMessage]:
    """`decrypt` returns the text of a compaction. Reasoning is never sent again: no chat template expects it."""
    messages: list[PromptMessage] = []
    for item in items:
        match item:
            case Message() if item.text:
                messages.append(PromptMessage(_prompt_role(item.role), item.text))
            case FunctionCall():
                call = PromptToolCall(item.call_id, item.name, item.arguments)
                messages.append(PromptMessage("assistant", "", (call,)))
            case FunctionCallOutput():
                messages.append(PromptMessage("tool", item.output, call_id=item.call_id))
            case Compaction():
                messages.append(PromptMessage("system", decrypt(item)))
            case Message() | Reasoning():
                pass
    return messages


def split_exchanges(messages: Sequence[PromptMessage]) -> list[Exchange]:
    """Each begins with the user's messages, or with the system messages before them. A question without an answer is an
    exchange of its own."""
    exchanges: list[list[PromptMessage]] = []
    only_system = False  # the last exchange has nothing but system messages so far
    for message in messages:
        after_other = exchanges and exchanges[-1][-1].role != "system"
        begins = message.role == "user" or (message.role == "system" and after_other)
        if not exchanges or (begins and not only_system):
            exchanges.append([])
            only_system = True
        exchanges[-1].append(message)
        only_system = only_system and message.role == "system"
    return [tuple(exchange) for exchange in exchanges]


def assemble(history: Sequence[PromptMessage], new: Sequence[PromptMessage]) -> PromptHistory:
    """The new input is one exchange. The output of a function belongs to the exchange that called it."""
    head = tuple(takewhile(lambda message: message.role == "system", history))
    earlier = split_exchanges(history[len(head) :])
    if new and new[0].role in ("tool", "assistant") and earlier:
        return PromptHistory(head, (*earlier[:-1], (*earlier[-1], *new)))
    return PromptHistory(head, (*earlier, tuple(new)))


def merge_adjacent_roles(messages: Sequence[PromptMessage]) -> tuple[PromptMessage, ...]:
    """Joins neighbours of one role: many chat templates refuse a second question after an unanswered one."""
    runs: list[list[PromptMessage]] = []
    for message in messages:
        if not runs or runs[-1][-1].role != message.role or message.role == "tool":
            runs.append([])
        runs[-1].append(message)
    return tuple(run[0] if len(run) == 1 else _merged(run) for run in runs)


def _merged(run: Sequence[PromptMessage]) -> PromptMessage:
    text = "\n\n".join(message.text for message in run if message.text)
    return PromptMessage(run[0].role, text, tuple(call for message in run for call in message.calls))


def reuse_token_count(
    checkpoint: TokenCountCheckpoint | None,
    prompt_digest: str,
    items: Sequence[Item],
    bound: Callable[[Sequence[Item]], int],
) -> int | None:
    """An upper bound of the tokens of `items`, of which `bound` bounds those after the checkpoint. None where the
    checkpoint does not apply.

    An answer that was still running at the checkpoint has a position before `last_position`, so the number of items
    must match too.
    """
    if checkpoint is None or checkpoint.prompt_digest != prompt_digest:
        return None
    positions = [position_in(item.id) or 0 for item in items]
    covered = [position for position in positions if position <= checkpoint.last_position]
    if len(covered) != checkpoint.item_count:
        return None
    return checkpoint.token_count + bound(items[len(covered) :])


def max_token_bound(messages: Sequence[PromptMessage]) -> int:
    """No tokenizer makes more tokens of a text than it has bytes; the template adds a few to each message."""
    return sum(neutralised_bytes_bound(message.text) + _TEMPLATE_TOKENS + _call_bytes(message) for message in messages)


def _call_bytes(message: PromptMessage) -> int:
    return sum(len(call.name.encode()) + len(call.arguments.encode()) + 2 * _TEMPLATE_TOKENS for call in message.calls)


def characters_in(exchanges: Sequence[Exchange]) -> int:
    return sum(len(message.text) for exchange in exchanges for message in exchange)


def first_counted_characters(context_limit: int | None) -> int:
    """About what a context of so many tokens has room for."""
    return _CHARACTERS_PER_TOKEN * (context_limit or _USUAL_CONTEXT_TOKENS)


def _newest_within(exchanges: Sequence[Exchange], characters: int) -> int:
    """How many of the newest exchanges have together no more than that; one in any case."""
    for newest, exchange in enumerate(reversed(exchanges)):
        characters -= characters_in([exchange])
        if characters < 0:
            return max(1, newest)
    return len(exchanges)


async def fit_window(
    head: Sequence[PromptMessage],
    exchanges: Sequence[Exchange],
    *,
    count: Callable[[tuple[PromptMessage, ...]], Awaitable[TokenizedPrompt | None]],
    wanted_room: int,
    characters: int,
    may_leave_out: bool = True,
) -> ContextWindow:
    """The newest whole exchanges that leave `wanted_room` tokens for the answer; the head always stays.

    A binary search over the engine's own counts, of the exchanges that have that many `characters` first: one count
    where everything fits, else at most log2(exchanges) + 2, and one more each time that `characters` is doubled, until
    something does not fit. Raises ContextLengthExceeded when the least that may be sent leaves no room at all.
    """
    counted: dict[int, ContextWindow] = {}

    async def window_of(newest: int) -> ContextWindow:
        if newest not in counted:
            oldest = len(exchanges) - newest
            rest = (message for exchange in exchanges[oldest:] for message in exchange)
            messages = merge_adjacent_roles([*head, *rest])
            known = await count(messages)
            tokens, limit = (None, None) if known is None else (known.count, known.limit)
            counted[newest] = ContextWindow(messages, tokens, limit, oldest)
        return counted[newest]

    async def leaves_room(newest: int) -> bool:
        window = await window_of(newest)
        if window.room is None or window.limit is None:
            return True
        return window.room >= (min(wanted_room, window.limit // 2) if may_leave_out else 1)

    # If nothing may be left out, the refusal says how long the whole is.
    fits, sent = min(1, len(exchanges)), _newest_within(exchanges, characters) if may_leave_out else len(exchanges)
    while await leaves_room(sent) and sent < len(exchanges):
        characters *= 2
        fits, sent = sent, max(sent + 1, _newest_within(exchanges, characters))
    if may_leave_out and not await leaves_room(sent):
        sent -= 1
        while fits < sent:
            middle = (fits + sent + 1) // 2
            if await leaves_room(middle):
                fits = middle
            else:
                sent = middle - 1
        sent = fits
    window = await window_of(sent)
    if window.room is not None and window.room <= 0:
        raise ContextLengthExceeded(window.count, window.limit)
    return window


def _prompt_role(role: MessageRole) -> PromptRole:
    # `developer` would be rendered as a system message by some templates and refused by others.
    return "system" if role == "developer" else role
