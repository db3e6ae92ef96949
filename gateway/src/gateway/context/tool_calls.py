"""Functions that were called, and what answers them."""

from collections.abc import Sequence

from gateway.errors import InvalidRequest
from gateway.protocol.items import FunctionCall, FunctionCallOutput, Item


def check_tool_outputs(before: Sequence[Item], asked: Sequence[Item]) -> None:
    """A chat template would render them, and the model would answer something that was never asked."""
    known = called((*before, *asked))
    for item in asked:
        if isinstance(item, FunctionCallOutput) and item.call_id not in known:
            raise InvalidRequest(
                f"no function call has the `call_id` {item.call_id!r} that an output answers", param="input"
            )


def drop_orphaned_outputs(before: Sequence[Item]) -> list[Item]:
    """The call of a result may have been deleted since: that must not end the whole conversation."""
    known = called(before)
    return [item for item in before if not isinstance(item, FunctionCallOutput) or item.call_id in known]


def called(items: Sequence[Item]) -> set[str]:
    return {item.call_id for item in items if isinstance(item, FunctionCall)}
