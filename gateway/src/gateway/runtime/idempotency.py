"""The same asked again: is it the same?"""

from collections.abc import Sequence

import msgspec

from gateway.errors import IdempotencyKeyReused
from gateway.protocol.create import ResponseCreate
from gateway.protocol.items import Item
from gateway.store.history.responses import StoredResponse


def check_same_request(create: ResponseCreate, first: StoredResponse) -> None:
    """Raises IdempotencyKeyReused for other words, or the same ones said somewhere else."""
    response = first.response
    place = response.conversation and response.conversation.id, response.previous_response_id
    asked = [item.at(0) for item in create.items]
    if place != (create.conversation_id, create.previous_response_id) or _words(first.input) != _words(asked):
        raise IdempotencyKeyReused


def _words(items: Sequence[Item]) -> list[Item]:
    """What was said, whenever that was."""
    return [msgspec.structs.replace(item, id="") for item in items]
