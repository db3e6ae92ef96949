"""WebSocket mode of /v1/responses: one answer at a time a socket, further requests wait in a short queue."""

from starlette.websockets import WebSocket

from gateway.errors import NotJson, ParleyError, TooManyRequests, Unauthenticated, UpgradeRequired
from gateway.identity import Credential, User
from gateway.protocol.events import addressed, frame, socket_error
from gateway.protocol.requests import ResponseCancel, ResponseCreate, decode_client_event
from gateway.routes.credentials import credential
from gateway.routes.refusal import refusal
from gateway.routes.socket import POLICY_VIOLATION, WAITING_AT_MOST, Service, Socket
from gateway.routes.state import State

_STRIKES = 3
_SUBPROTOCOL = "openai-responses"


async def responses_socket(websocket: WebSocket[State]) -> None:
    try:
        presented = credential(websocket)
        await websocket.state["identity"].user(presented)
    except ParleyError as exc:
        await websocket.send_denial_response(refusal(exc))
        return
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(subprotocol=_SUBPROTOCOL if _SUBPROTOCOL in offered else None)
    await Connection(Socket(websocket), presented, websocket.state).run()


class Connection:
    def __init__(self, socket: Socket, presented: Credential, state: State) -> None:
        self._socket = socket
        self._service: Service[ResponseCreate] = Service(socket)
        self._credential = presented
        self._identity = state["identity"]
        self._turns = state["turns"]
        self._strikes = 0

    async def run(self) -> None:
        await self._service.run(self._receive, self._answer)

    async def _receive(self, text: str) -> None:
        try:
            event = decode_client_event(text)
            if isinstance(event, ResponseCancel):
                user = await self._user()
                self._turns.find(user.id, event.response_id).stop()
            elif not self._service.put(event):
                full = TooManyRequests(f"{WAITING_AT_MOST} requests wait on this socket already")
                await self._refuse(full, event.stream_id)
        except ParleyError as exc:
            await self._refuse(exc)
            self._strikes += isinstance(exc, NotJson)
            if self._strikes == _STRIKES:
                await self._socket.close(POLICY_VIOLATION, "three frames that are not JSON objects")

    async def _answer(self, create: ResponseCreate) -> None:
        try:
            user = await self._user()
            running = await self._turns.start(user.id, create)
        except ParleyError as exc:
            await self._refuse(exc, create.stream_id)
            return
        async for text in running.log.follow():
            await self._socket.send(addressed(text, create.stream_id))

    async def _user(self) -> User:
        """Asked again for every request: a session may have ended since the handshake."""
        return await self._identity.user(self._credential)

    async def _refuse(self, error: ParleyError, stream_id: str | None = None) -> None:
        await self._socket.send(addressed(frame(socket_error(error)), stream_id))
        if isinstance(error, Unauthenticated):
            await self._socket.close(POLICY_VIOLATION, "the credential is no longer valid")


async def upgrade_required() -> None:
    """A plain GET on a socket's path."""
    raise UpgradeRequired
