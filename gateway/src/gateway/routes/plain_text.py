"""The plain-text protocol `/ws`: text in, the answer's text out. Kept for pages that know nothing else.

It is the same turn underneath: the same history (one standing conversation a user), limits and log.
"""

import hashlib
import time

import anyio
import msgspec
from starlette.websockets import WebSocket

from gateway.errors import ParleyError, Unauthenticated
from gateway.identity.introspection import Credential, User
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import Conversation
from gateway.routes.socket import MAX_QUEUED_REQUESTS, POLICY_VIOLATION, ClientDisconnected, RequestQueue, Socket
from gateway.routes.state import State

_REFUSED = "authentication failed"


async def plain_text(websocket: WebSocket[State]) -> None:
    name, secret = (websocket.query_params.get(key) for key in ("userid", "secret"))
    socket = Socket(websocket)
    if name is None or secret is None:
        await websocket.accept()
        await socket.close(POLICY_VIOLATION, "expected userid and secret in the query")
        return
    address = websocket.headers.get("x-forwarded-for", "")
    client = Client(socket, Credential(secret, username=name, address=address), websocket.state)
    await client.arrive()
    try:
        # Only now, so that whoever is connected hears of everybody who leaves.
        await websocket.accept()
        await client.run()
    finally:
        with anyio.CancelScope(shield=True):
            await client.leave()


class Client:
    def __init__(self, socket: Socket, credential: Credential, state: State) -> None:
        self._socket = socket
        self._service: RequestQueue[str] = RequestQueue(socket)
        self._credential = credential
        self._state = state
        self._present: User | None = None
        self._known = anyio.Event()
        self._heard = 0
        self._refused = False

    async def arrive(self) -> None:
        """A wrong secret is never tried again on this socket; while nobody can tell, the next message asks again."""
        try:
            await self._user()
        except Unauthenticated:
            self._refused = True
        except ParleyError:
            return

    async def run(self) -> None:
        await self._service.run(self._receive, self._answer, self._watch)

    async def leave(self) -> None:
        if self._present is not None:
            await self._state["presence"].leave(self._tell, self._present.name)

    async def _user(self) -> User:
        heard = self._state["revocations"].epoch
        user = await self._state["identity"].authenticate(self._credential)
        if self._present is None:
            self._present, self._heard = user, heard
            self._known.set()
            self._state["presence"].arrive(self._tell)
        return user

    async def _watch(self) -> None:
        await self._known.wait()
        if self._present is not None:
            revocations, identity = self._state["revocations"], self._state["identity"]
            await revocations.watch(identity, self._present, self._revoked, since=self._heard)

    async def _revoked(self) -> None:
        await self._socket.close(POLICY_VIOLATION, "the credential is no longer valid")

    async def _tell(self, departure: str) -> None:
        try:
            await self._socket.send(departure)
        except ClientDisconnected:
            return

    async def _receive(self, text: str) -> None:
        if self._refused:
            await self._socket.send(_REFUSED)
        elif text.strip() and not self._service.put(text):
            await self._socket.send(f"{MAX_QUEUED_REQUESTS} messages wait already; this one was not taken")

    async def _answer(self, text: str) -> None:
        try:
            user = await self._user()
            conversation = _standing_conversation(user)
            await self._state["conversations"].ensure(user.id, conversation)
            create = ResponseCreate(input=text, conversation=conversation.id, truncation="auto")
            answer = await self._state["turns"].start(user.id, create)
        except Unauthenticated:
            await self._socket.send(_REFUSED)
            return
        except ParleyError as exc:
            await self._socket.send(exc.message)
            return
        following = self._state["following"]
        async for event in following.follow(user.id, answer.response_id, running=answer.running):
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
