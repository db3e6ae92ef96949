"""The plain-text protocol `/ws`: the frames are the text of messages and of answers. Kept for pages that speak no
other protocol.

Below it is the same turn: the same history (one permanent conversation per user), limits and log.
"""

import hashlib
import time

import anyio
import msgspec
from starlette.websockets import WebSocket

from gateway.errors import ParleyError, Unauthenticated
from gateway.identity.introspection import Credential, User
from gateway.pauses import user_at_work
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import Conversation
from gateway.routes.socket import MAX_QUEUED_REQUESTS, POLICY_VIOLATION, ClientDisconnected, RequestQueue, Socket
from gateway.routes.state import State

_AUTHENTICATION_FAILED = "authentication failed"


async def plain_text(websocket: WebSocket[State]) -> None:
    name, secret = (websocket.query_params.get(key) for key in ("userid", "secret"))
    socket = Socket(websocket)
    if name is None or secret is None:
        await websocket.accept()
        await socket.close(POLICY_VIOLATION, "expected userid and secret in the query")
        return
    address = websocket.headers.get("x-forwarded-for", "")
    credential = Credential(secret, username=name, address=address)
    connection = PlainTextConnection(socket, credential, websocket.state)
    await connection.authenticate()
    try:
        # Not before it is registered, so that a connected client misses no departure.
        await websocket.accept()
        await connection.run()
    finally:
        with anyio.CancelScope(shield=True):
            await connection.leave()


class PlainTextConnection:
    def __init__(self, socket: Socket, credential: Credential, state: State) -> None:
        self._socket = socket
        self._queue: RequestQueue[str] = RequestQueue(socket)
        self._credential = credential
        self._state = state
        self._user: User | None = None
        self._authenticated = anyio.Event()
        self._revocations_before = 0
        self._rejected = False

    async def authenticate(self) -> None:
        """A wrong secret is never checked again on this socket; after any other failure the next message retries."""
        try:
            await self._check_user()
        except Unauthenticated:
            self._rejected = True
        except ParleyError:
            return

    async def run(self) -> None:
        await self._queue.run(self._receive, self._answer, self._watch_credential)

    async def leave(self) -> None:
        if self._user is not None:
            await self._state["presence"].leave(self._notify, self._user.name)

    async def _check_user(self) -> User:
        revocations_before = self._state["revocations"].epoch
        user = await self._state["identity"].authenticate(self._credential)
        user_at_work.set(user.id)
        if self._user is None:
            self._user, self._revocations_before = user, revocations_before
            self._authenticated.set()
            self._state["presence"].arrive(self._notify)
        return user

    async def _watch_credential(self) -> None:
        await self._authenticated.wait()
        if self._user is not None:
            revocations, identity = self._state["revocations"], self._state["identity"]
            await revocations.watch(identity, self._user, self._close_revoked, since=self._revocations_before)

    async def _close_revoked(self) -> None:
        await self._socket.close(POLICY_VIOLATION, "the credential is no longer valid")

    async def _notify(self, departure: str) -> None:
        try:
            await self._socket.send(departure)
        except ClientDisconnected:
            return

    async def _receive(self, text: str) -> None:
        if self._rejected:
            await self._socket.send(_AUTHENTICATION_FAILED)
        elif text.strip() and not self._queue.put(text):
            await self._socket.send(f"{MAX_QUEUED_REQUESTS} messages are already queued; this one was dropped")

    async def _answer(self, text: str) -> None:
        try:
            user = await self._check_user()
            conversation = _permanent_conversation(user)
            await self._state["conversations"].ensure(user.id, conversation)
            create = ResponseCreate(input=text, conversation=conversation.id, truncation="auto")
            started = await self._state["turns"].start(user.id, create)
        except Unauthenticated:
            await self._socket.send(_AUTHENTICATION_FAILED)
            return
        except ParleyError as exc:
            await self._socket.send(exc.message)
            return
        follower = self._state["follower"]
        async for event in follower.follow(user.id, started.response_id, running=started.running):
            if visible := _visible_text(event):
                await self._socket.send(visible)


class _VisibleEvent(msgspec.Struct):
    """The two kinds of event that have text for this protocol."""

    type: str
    delta: str | None = None
    error: dict[str, str | int | None] | None = None


_decode = msgspec.json.Decoder(_VisibleEvent).decode


def _visible_text(event: str) -> str | None:
    visible = _decode(event)
    if visible.type == "error" and visible.error is not None:
        return str(visible.error["message"])
    return visible.delta


def _permanent_conversation(user: User) -> Conversation:
    digest = hashlib.sha256(f"plain text of {user.id}".encode()).hexdigest()
    return Conversation(f"conv_{digest[:32]}", int(time.time()), {"title": "/ws"})
