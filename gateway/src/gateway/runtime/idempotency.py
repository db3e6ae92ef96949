"""Whether a request under a known idempotency key is the one that was accepted."""

from collections.abc import Sequence

import msgspec

from gateway.errors import IdempotencyKeyReused
from gateway.protocol.create import ResponseCreate
from gateway.protocol.items import Item
from gateway.turn.records import StoredResponse


def check_same_request(create: ResponseCreate, accepted: StoredResponse) -> None:
    """Raises IdempotencyKeyReused for other input, or the same input elsewhere."""
    response = accepted.response
    place = response.conversation and response.conversation.id, response.previous_response_id
    new = [item.at(0) for item in create.items]
    if place != (create.conversation_id, create.previous_response_id) or _content(accepted.input) != _content(new):
        raise IdempotencyKeyReused


def _content(items: Sequence[Item]) -> list[Item]:
    """Without ids, which differ from request to request."""
    return [msgspec.structs.replace(item, id="") for item in items]
