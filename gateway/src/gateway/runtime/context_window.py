"""Which part of a conversation is sent: by the engine's own count, or without one where there is room for certain."""

from collections.abc import Sequence

import msgspec

from gateway.context.control_tokens import neutralise
from gateway.context.prompt import (
    EXCHANGES_COUNTED_FIRST,
    ContextWindow,
    TokenCountCheckpoint,
    alternating,
    fit,
    max_token_bound,
    prompts,
    reuse_token_count,
)
from gateway.protocol.ids import position_in
from gateway.protocol.items import Item
from gateway.protocol.resources import Usage, WindowUse
from gateway.runtime.ports import ModelServer
from gateway.runtime.preparation import PreparedTurn

# An answer shorter than this is not worth starting: older turns make room for it.
ROOM_FOR_AN_ANSWER_TOKENS = 256
# What a template may say around a list of tools.
_TOOLS_FRAME_TOKENS = 1_024

_encode = msgspec.json.Encoder().encode


async def window(engine: ModelServer, accepted: PreparedTurn, *, count_again: bool = False) -> ContextWindow:
    """Reads what was said before as far back as there is room for it.

    Raises ContextLengthExceeded, Unavailable or EngineFailed. `count_again`: what was thought proven was not.
    """
    request = accepted.turn.request
    limit = await engine.limit()
    await _read_what_fitted(accepted)
    most = None if count_again or limit is None or accepted.older else _most(accepted)
    if limit is not None and most is not None and most + (request.sampling.max_output_tokens or limit) <= limit:
        told = [prompt for turn in accepted.exchanges for prompt in turn]
        return ContextWindow(alternating([*accepted.introduction, *told]), None, limit)
    counted_first = EXCHANGES_COUNTED_FIRST
    while True:
        chosen = await fit(
            accepted.introduction,
            accepted.exchanges,
            count=lambda told: engine.count(told, request.form, affinity=accepted.affinity),
            room_wanted=ROOM_FOR_AN_ANSWER_TOKENS,
            may_leave_out=request.truncation == "auto",
            counted_first=counted_first,
        )
        if chosen.exchanges_left_out or not accepted.older:
            return chosen
        counted_first = 2 * len(accepted.exchanges)
        await accepted.load_older(len(accepted.items))


async def _read_what_fitted(accepted: PreparedTurn) -> None:
    """At once, and without a count: so many had room before."""
    if accepted.measured is None or not accepted.older:
        return
    measured, read = accepted.measured, [position_in(item.id) or 0 for item in accepted.before]
    counted_then = measured.items - sum(position <= measured.last for position in read)
    # Unless it has grown out of its context since, all that is older was counted.
    fitted = accepted.older if accepted.older == counted_then else measured.items - len(accepted.items)
    if fitted > 0:
        await accepted.load_older(fitted)


def window_use(accepted: PreparedTurn, chosen: ContextWindow) -> WindowUse:
    left_out = sum(len(turn) for turn in accepted.exchanges[: chosen.exchanges_left_out])
    return WindowUse(accepted.older + left_out, chosen.count, chosen.limit)


def token_count_checkpoint(
    accepted: PreparedTurn, chosen: ContextWindow, usage: Usage | None
) -> TokenCountCheckpoint | None:
    """What the next turn may build on: only a prompt that had everything in it."""
    everything = chosen.exchanges_left_out == 0 and not accepted.older
    if usage is None or chosen.limit is None or not everything:
        return None
    last = max((position_in(item.id) or 0 for item in accepted.items), default=0)
    return TokenCountCheckpoint(
        usage.input_tokens, chosen.limit, len(accepted.items), last, accepted.turn.request.shape
    )


def _most(accepted: PreparedTurn) -> int:
    """An upper bound of the prompt's tokens: what was counted last time, and the bytes of what came since."""
    asked = max_token_bound([prompt for turn in accepted.exchanges[-1:] for prompt in turn])
    since = reuse_token_count(accepted.measured, accepted.turn.request.shape, accepted.before, _bound)
    if since is not None:
        return since + asked
    told = [prompt for turn in accepted.exchanges for prompt in turn]
    tools = accepted.turn.request.form.tools
    written = len(neutralise(_encode(tools).decode()).encode()) + _TOOLS_FRAME_TOKENS if tools else 0
    return max_token_bound([*accepted.introduction, *told]) + written


def _bound(items: Sequence[Item]) -> int:
    return max_token_bound(prompts(items, lambda sealed: sealed.encrypted_content))
