"""Which part of a conversation is sent: by the engine's own token count, or without one where a bound proves that it
fits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from gateway.context.control_tokens import neutralised_bytes_bound
from gateway.context.prompt import (
    EXCHANGES_COUNTED_FIRST,
    ContextWindow,
    TokenCountCheckpoint,
    fit_window,
    max_token_bound,
    merge_adjacent_roles,
    prompt_messages,
    reuse_token_count,
)
from gateway.errors import ContextLengthExceeded
from gateway.protocol.ids import position_in
from gateway.protocol.items import Item
from gateway.protocol.resources import Usage, WindowUse
from gateway.runtime.ports import ModelServer
from gateway.runtime.preparation import PreparedTurn, TurnPreparation

# An answer shorter than this is not worth starting: older exchanges make room for it.
ROOM_FOR_AN_ANSWER_TOKENS = 256
# What a template may write around a list of tools.
_TOOLS_TEMPLATE_TOKENS = 1_024

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class ChosenWindow:
    """`prepared` has as much of the history as was read to choose."""

    prepared: PreparedTurn
    window: ContextWindow

    @property
    def use(self) -> WindowUse:
        """What a client is shown of it."""
        left_out = sum(map(len, self.prepared.prompt.exchanges[: self.window.exchanges_left_out]))
        return WindowUse(self.prepared.older_count + left_out, self.window.count, self.window.limit)

    def checkpoint(self, usage: Usage | None) -> TokenCountCheckpoint | None:
        """What the next turn may build on. None unless the whole conversation was in the prompt."""
        is_complete = self.window.exchanges_left_out == 0 and not self.prepared.older_count
        if usage is None or self.window.limit is None or not is_complete:
            return None
        items = self.prepared.items
        last = max((position_in(item.id) or 0 for item in items), default=0)
        digest = self.prepared.turn.request.prompt_digest
        return TokenCountCheckpoint(usage.input_tokens, self.window.limit, len(items), last, digest)


class WindowSelection:
    def __init__(self, engine: ModelServer, preparation: TurnPreparation) -> None:
        self._engine = engine
        self._preparation = preparation

    async def choose(
        self, prepared: PreparedTurn, on_loaded: Callable[[PreparedTurn], None], *, ignore_bound: bool = False
    ) -> ChosenWindow:
        """Reads the history as far back as there is room for it. `on_loaded` gets what was read, so that a retry does
        not read it again. `ignore_bound`: the engine has refused a prompt that the bound let pass.

        Raises ContextLengthExceeded, Unavailable or EngineFailed.
        """
        request = prepared.turn.request
        limit = await self._engine.context_limit()
        prepared = await self._load_what_fitted(prepared)
        on_loaded(prepared)
        if limit is not None and not ignore_bound and not prepared.older_count:
            needed = _token_bound(prepared) + (request.sampling.max_output_tokens or limit)
            if needed <= limit:
                return ChosenWindow(prepared, ContextWindow(merge_adjacent_roles(prepared.messages), None, limit))
        counted_first = EXCHANGES_COUNTED_FIRST
        while True:
            window = await self._fit(prepared, counted_first)
            if window.exchanges_left_out or not prepared.older_count:
                return ChosenWindow(prepared, window)
            if not prepared.history.can_read_more:
                if request.truncation != "auto":
                    raise ContextLengthExceeded
                return ChosenWindow(prepared, window)
            counted_first = 2 * len(prepared.prompt.exchanges)
            prepared = await self._preparation.load_older(prepared, len(prepared.items))
            on_loaded(prepared)

    async def _fit(self, prepared: PreparedTurn, counted_first: int) -> ContextWindow:
        request = prepared.turn.request
        return await fit_window(
            prepared.head,
            prepared.prompt.exchanges,
            count=lambda messages: self._engine.tokenize(messages, request.options, affinity=prepared.affinity),
            wanted_room=ROOM_FOR_AN_ANSWER_TOKENS,
            may_leave_out=request.truncation == "auto",
            counted_first=counted_first,
        )

    async def _load_what_fitted(self, prepared: PreparedTurn) -> PreparedTurn:
        """In one step and without a count: as many items as had room at the checkpoint."""
        checkpoint, older_count = prepared.history.snapshot.checkpoint, prepared.older_count
        if checkpoint is None or not older_count:
            return prepared
        read = [position_in(item.id) or 0 for item in prepared.history.items]
        counted_then = checkpoint.item_count - sum(position <= checkpoint.last_position for position in read)
        # Unless the conversation has outgrown the context since, all older items were counted.
        fitted = older_count if older_count == counted_then else checkpoint.item_count - len(prepared.items)
        return await self._preparation.load_older(prepared, fitted) if fitted > 0 else prepared


def _token_bound(prepared: PreparedTurn) -> int:
    """An upper bound of the prompt's tokens: the last count, and the bytes of what came since."""
    request, exchanges = prepared.turn.request, prepared.prompt.exchanges
    checkpoint = prepared.history.snapshot.checkpoint
    history = reuse_token_count(checkpoint, request.prompt_digest, prepared.history.items, _item_bound)
    if history is not None:
        return history + max_token_bound([message for exchange in exchanges[-1:] for message in exchange])
    tools = request.options.tools
    tool_bytes = neutralised_bytes_bound(_encode(tools).decode()) + _TOOLS_TEMPLATE_TOKENS if tools else 0
    return max_token_bound(prepared.messages) + tool_bytes


def _item_bound(items: Sequence[Item]) -> int:
    # The ciphertext of a compaction is longer than its text.
    return max_token_bound(prompt_messages(items, lambda compaction: compaction.encrypted_content))
