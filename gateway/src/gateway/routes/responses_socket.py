"""WebSocket mode of /v1/responses: one answer at a time a socket, further requests wait in a short queue."""

import asyncio

import anyio
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from gateway.errors import ParleyError, TooManyRequests, Unauthenticated, UpgradeRequired
from gateway.identity import Credential, User
from gateway.protocol.events import addressed, frame, socket_error
from gateway.protocol.requests import ResponseCancel, ResponseCreate, decode_client_event
from gateway.routes.credentials import credential
from gateway.routes.socket import POLICY_VIOLATION, Gone, Socket
from gateway.routes.state import State

WAITING_AT_MOST = 8
_STRIKES = 3
_SUBPROTOCOL = "openai-responses"


async def responses_socket(websocket: WebSocket[State]) -> None:
    try:
        presented = credential(websocket)
        await websocket.state["identity"].user(presented)
    except ParleyError as exc:
        await websocket.send_denial_response(JSONResponse({"error": exc.body()}, status_code=exc.status))
        return
    offered = websocket.scope.get("subprotocols", [])
    await websocket.accept(subprotocol=_SUBPROTOCOL if _SUBPROTOCOL in offered else None)
    await Connection(Socket(websocket), presented, websocket.state).run()


class Connection:
    def __init__(self, socket: Socket, presented: Credential, state: State) -> None:
        self._socket = socket
        self._credential = presented
        self._identity = state["identity"]
        self._turns = state["turns"]
        self._creates: asyncio.Queue[ResponseCreate] = asyncio.Queue(WAITING_AT_MOST)

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._answer_all)
            try:
                await self._receive_all()
            except Gone:
                pass
            finally:
                tasks.cancel_scope.cancel()

    async def _receive_all(self) -> None:
        strikes = 0
        async for text in self._socket.frames():
            try:
                await self._receive(text)
            except ParleyError as exc:
                await self._refuse(exc)
                strikes += exc.code == "invalid_json"
                if strikes == _STRIKES:
                    await self._socket.close(POLICY_VIOLATION, "three frames that are not JSON objects")

    async def _receive(self, text: str) -> None:
        event = decode_client_event(text)
        if isinstance(event, ResponseCancel):
            user = await self._user()
            self._turns.find(user.id, event.response_id).stop()
            return
        try:
            self._creates.put_nowait(event)
        except asyncio.QueueFull:
            full = TooManyRequests(f"{WAITING_AT_MOST} requests wait on this socket already")
            await self._refuse(full, event.stream_id)

    async def _answer_all(self) -> None:
        try:
            while True:
                await self._answer(await self._creates.get())
        except Gone:
            return

    async def _answer(self, create: ResponseCreate) -> None:
        try:
            user = await self._user()
            running = await self._turns.start(user.id, create)
        except ParleyError as exc:
            await self._refuse(exc, create.stream_id)
            if isinstance(exc, Unauthenticated):
                await self._socket.close(POLICY_VIOLATION, "the credential is no longer valid")
            return
        async for text in running.log.follow():
            await self._socket.send(addressed(text, create.stream_id))

    async def _user(self) -> User:
        """Asked again for every request: a session may have ended since the handshake."""
        return await self._identity.user(self._credential)

    async def _refuse(self, error: ParleyError, stream_id: str | None = None) -> None:
        await self._socket.send(addressed(frame(socket_error(error)), stream_id))


async def upgrade_required() -> None:
    """A plain GET on the socket's path."""
    raise UpgradeRequired
