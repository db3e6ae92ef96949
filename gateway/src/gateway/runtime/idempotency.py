"""Whether a request under a known idempotency key is the one that was accepted."""

from gateway.errors import IdempotencyKeyReused
from gateway.protocol.create import ResponseCreate
from gateway.turn.records import StoredResponse, content_digest


def check_same_request(create: ResponseCreate, accepted: StoredResponse) -> None:
    """Raises IdempotencyKeyReused for other input, or the same input elsewhere. The input that was accepted may have
    been deleted since."""
    response = accepted.response
    place = response.conversation and response.conversation.id, response.previous_response_id
    digest = content_digest([item.at(0) for item in create.items])
    if place != (create.conversation_id, create.previous_response_id) or digest != accepted.input_digest:
        raise IdempotencyKeyReused
