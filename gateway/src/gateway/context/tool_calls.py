"""Function calls and the outputs that answer them."""

from collections.abc import Sequence

from gateway.errors import InvalidRequest
from gateway.protocol.items import FunctionCall, FunctionCallOutput, Item


def check_tool_outputs(history: Sequence[Item], new: Sequence[Item]) -> None:
    """Raises InvalidRequest for an output without its call: a chat template would render it, and the model would answer
    something that was never asked."""
    known = call_ids((*history, *new))
    for item in new:
        if isinstance(item, FunctionCallOutput) and item.call_id not in known:
            raise InvalidRequest(
                f"no function call has the `call_id` {item.call_id!r} that an output answers", param="input"
            )


def drop_orphaned_outputs(history: Sequence[Item]) -> list[Item]:
    """The call of an output may have been deleted since; the conversation goes on without the output."""
    known = call_ids(history)
    return [item for item in history if not isinstance(item, FunctionCallOutput) or item.call_id in known]


def call_ids(items: Sequence[Item]) -> set[str]:
    return {item.call_id for item in items if isinstance(item, FunctionCall)}
