"""WebSocket mode of /v1/responses: the handshake."""

import re
from typing import Any

from starlette.websockets import WebSocket

from gateway.errors import InvalidRequest, ParleyError, UpgradeRequired
from gateway.protocol.limits import MAX_SEQUENCE_NUMBER
from gateway.routes.credentials import begin_work, read_credential
from gateway.routes.json_responses import error_response
from gateway.routes.openapi import describe_errors
from gateway.routes.responses_connection import ResponsesConnection, ResumeRequest
from gateway.routes.socket import Socket
from gateway.routes.state import State

_SUBPROTOCOL = "openai-responses"

upgrade_description: dict[str, Any] = {
    "summary": "Open a WebSocket (RFC 6455)",
    "status_code": 426,
    "responses": {101: {}} | describe_errors(401, 403, 426, 429, 503),
}


async def upgrade_required() -> None:
    """A plain GET on a socket's path."""
    raise UpgradeRequired


async def responses_socket(websocket: WebSocket[State]) -> None:
    state = websocket.state
    try:
        credential = read_credential(websocket)
        revocations_before = state["revocations"].epoch
        user = await state["identity"].authenticate(credential)
        begin_work(websocket, user)
        resume = _read_resume(websocket)
        with state["connections"].hold(user.id):
            offered = websocket.scope.get("subprotocols", [])
            await websocket.accept(subprotocol=_SUBPROTOCOL if _SUBPROTOCOL in offered else None)
            await ResponsesConnection(Socket(websocket), user, revocations_before, state).run(resume)
    except ParleyError as exc:
        await websocket.send_denial_response(error_response(exc))


def _read_resume(websocket: WebSocket[State]) -> ResumeRequest | None:
    response_id = websocket.query_params.get("resume")
    starting_after = websocket.query_params.get("starting_after")
    if response_id is None and starting_after is not None:
        raise InvalidRequest("`starting_after` requires `resume`, the id of a response", param="resume")
    if response_id is None:
        return None
    if starting_after is None:
        return ResumeRequest(response_id, -1)
    number = int(starting_after) if re.fullmatch(r"[0-9]{1,10}", starting_after) else -1
    if not 0 <= number <= MAX_SEQUENCE_NUMBER:
        raise InvalidRequest("expected the sequence number of an event", param="starting_after", code="invalid_value")
    return ResumeRequest(response_id, number)
