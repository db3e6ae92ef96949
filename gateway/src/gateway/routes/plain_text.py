"""The plain-text protocol `/ws`: text in, the answer's text out. Kept for pages that know nothing else.

It is the same turn underneath: the same history (one standing conversation a user), limits and log.
"""

import asyncio
import hashlib
import time

import anyio
import msgspec
from starlette.websockets import WebSocket

from gateway.errors import ParleyError, Unauthenticated
from gateway.identity import Credential, User
from gateway.protocol.requests import ResponseCreate
from gateway.protocol.resources import Conversation
from gateway.routes.socket import POLICY_VIOLATION, Gone, Socket
from gateway.routes.state import State

WAITING_AT_MOST = 8
_REFUSED = "authentication failed"


async def plain_text(websocket: WebSocket[State]) -> None:
    name, secret = (websocket.query_params.get(key) for key in ("userid", "secret"))
    socket = Socket(websocket)
    if name is None or secret is None:
        await websocket.accept()
        await socket.close(POLICY_VIOLATION, "expected userid and secret in the query")
        return
    presence = websocket.state["presence"]
    address = websocket.headers.get("x-forwarded-for", "")
    client = Client(socket, Credential(secret, username=name, address=address), websocket.state)
    user = await client.arrive()
    if user is not None:
        presence.arrive(client.say)
    try:
        # Only now, so that whoever is connected hears of everybody who leaves.
        await websocket.accept()
        await client.run()
    finally:
        if user is not None:
            with anyio.CancelScope(shield=True):
                await presence.leave(client.say, user.name)


class Client:
    def __init__(self, socket: Socket, credential: Credential, state: State) -> None:
        self._socket = socket
        self._credential = credential
        self._state = state
        self._refused = False
        self._waiting: asyncio.Queue[str] = asyncio.Queue(WAITING_AT_MOST)

    async def arrive(self) -> User | None:
        """None for a wrong secret, which is then never tried again on this socket, or while nobody can tell."""
        try:
            return await self._state["identity"].user(self._credential)
        except Unauthenticated:
            self._refused = True
            return None
        except ParleyError:
            return None

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._answer_all)
            try:
                async for text in self._socket.frames():
                    await self._receive(text)
            except Gone:
                pass
            finally:
                tasks.cancel_scope.cancel()

    async def say(self, text: str) -> None:
        try:
            await self._socket.send(text)
        except Gone:
            return

    async def _receive(self, text: str) -> None:
        if self._refused:
            await self._socket.send(_REFUSED)
        elif not text.strip():
            return
        elif self._waiting.full():
            await self._socket.send(f"{WAITING_AT_MOST} messages wait already; this one was not taken")
        else:
            self._waiting.put_nowait(text)

    async def _answer_all(self) -> None:
        try:
            while True:
                await self._answer(await self._waiting.get())
        except Gone:
            return

    async def _answer(self, text: str) -> None:
        try:
            user = await self._state["identity"].user(self._credential)
            conversation = _standing_conversation(user)
            await self._state["history"].ensure(user.id, conversation)
            create = ResponseCreate(input=text, conversation=conversation.id, truncation="auto")
            running = await self._state["turns"].start(user.id, create)
        except Unauthenticated:
            await self._socket.send(_REFUSED)
            return
        except ParleyError as exc:
            await self._socket.send(exc.message)
            return
        async for event in running.log.follow():
            if shown := _shown(event):
                await self._socket.send(shown)


class _Shown(msgspec.Struct):
    """The two kinds of event a reader of plain text sees."""

    type: str
    delta: str | None = None
    error: dict[str, str | int | None] | None = None


_decode = msgspec.json.Decoder(_Shown).decode


def _shown(event: str) -> str | None:
    seen = _decode(event)
    if seen.type == "error" and seen.error is not None:
        return str(seen.error["message"])
    return seen.delta


def _standing_conversation(user: User) -> Conversation:
    digest = hashlib.sha256(f"plain text of {user.id}".encode()).hexdigest()
    return Conversation(f"conv_{digest[:32]}", int(time.time()), {"title": "/ws"})
