"""WebSocket mode of /v1/responses: one answer at a time a socket, further requests wait in a short queue."""

import re
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.websockets import WebSocket

from gateway.errors import (
    ConnectionLimitReached,
    InvalidJson,
    InvalidRequest,
    ParleyError,
    TooManyRequests,
    Unauthenticated,
    UpgradeRequired,
)
from gateway.identity.introspection import User
from gateway.protocol.create import ResponseCreate
from gateway.protocol.events import addressed, frame, socket_error
from gateway.protocol.items import Item
from gateway.protocol.limits import MAX_SEQUENCE_NUMBER
from gateway.protocol.requests import ClientFrame, ResponseCancel, idempotency_key_of
from gateway.routes.credentials import credential
from gateway.routes.openapi import refused_with
from gateway.routes.refusal import refusal
from gateway.routes.socket import IDLE, MAX_QUEUED_REQUESTS, POLICY_VIOLATION, RESTART, RequestQueue, Socket
from gateway.routes.state import State
from gateway.runtime.running import RunningTurn
from gateway.turn.state_machine import Failed

_STRIKES = 3
_SUBPROTOCOL = "openai-responses"


@dataclass(frozen=True, slots=True)
class Resume:
    response_id: str
    starting_after: int


async def responses_socket(websocket: WebSocket[State]) -> None:
    try:
        presented = credential(websocket)
        heard = websocket.state["revocations"].epoch
        user = await websocket.state["identity"].authenticate(presented)
        resume = _resume(websocket)
        with websocket.state["places"].acquire(user.id):
            offered = websocket.scope.get("subprotocols", [])
            await websocket.accept(subprotocol=_SUBPROTOCOL if _SUBPROTOCOL in offered else None)
            await Connection(Socket(websocket), user, heard, websocket.state).run(resume)
    except ParleyError as exc:
        await websocket.send_denial_response(refusal(exc))


class Connection:
    def __init__(self, socket: Socket, user: User, heard: int, state: State) -> None:
        """`heard` is how many revocations had been before `user` was asked for."""
        self._socket = socket
        self._service: RequestQueue[ResponseCreate | Resume] = RequestQueue(socket)
        self._presented = user
        self._heard = heard
        self._identity = state["identity"]
        self._revocations = state["revocations"]
        self._turns = state["turns"]
        self._following = state["following"]
        self._limits = state["socket_limits"]
        self._strikes = 0
        self._spoken = anyio.Event()
        self._answering = False
        # What was said up to the last response, when that is stored nowhere: it can be gone on from here only.
        self._remembered: dict[str, tuple[Item, ...]] = {}

    async def run(self, resume: Resume | None) -> None:
        if resume is not None:
            self._spoken.set()
            self._service.put(resume)
        await self._service.run(self._receive, self._answer, self._grow_old, self._await_the_first_event, self._watch)

    async def _receive(self, text: str) -> None:
        self._spoken.set()
        try:
            said = ClientFrame.read(text)
        except InvalidJson as exc:
            await self._refuse(exc)
            self._strikes += 1
            if self._strikes == _STRIKES:
                await self._socket.close(POLICY_VIOLATION, "three frames that are not JSON objects")
            return
        try:
            event = said.event()
        except ParleyError as exc:
            self._forget(said.previous_response_id)
            await self._refuse(exc, said.stream_id)
            return
        if isinstance(event, ResponseCancel):
            await self._cancel(event)
        elif not self._service.put(event):
            full = TooManyRequests(f"{MAX_QUEUED_REQUESTS} requests wait on this socket already")
            await self._refuse(full, event.stream_id)

    async def _cancel(self, cancel: ResponseCancel) -> None:
        try:
            user = await self._user()
            await self._following.cancel(user.id, cancel.response_id)
        except ParleyError as exc:
            await self._refuse(exc)

    async def _answer(self, request: ResponseCreate | Resume) -> None:
        self._answering = True
        try:
            if isinstance(request, Resume):
                await self._resume(request)
            else:
                await self._create(request)
        finally:
            self._answering = False

    async def _create(self, create: ResponseCreate) -> None:
        try:
            user = await self._user()
            answer = await self._turns.start(
                user.id, create, self._remembered, idempotency_key=idempotency_key_of(create)
            )
            if answer.running is None:
                await self._following.check(user.id, answer.response_id)
        except ParleyError as exc:
            self._forget(create.previous_response_id)
            await self._refuse(exc, create.stream_id)
            return
        running = answer.running
        try:
            async for text in self._following.follow(user.id, answer.response_id, running=running):
                await self._socket.send(addressed(text, create.stream_id))
        finally:
            if running is not None and not running.request.stored:
                running.stop()  # of an answer that is kept nowhere the only reader has gone
        if running is not None:
            self._remember(create, running)

    async def _resume(self, resume: Resume) -> None:
        try:
            user = await self._user()
            await self._following.check(user.id, resume.response_id)
            async for text in self._following.follow(user.id, resume.response_id, resume.starting_after):
                await self._socket.send(text)
        except ParleyError as exc:
            await self._refuse(exc)

    def _remember(self, create: ResponseCreate, running: RunningTurn) -> None:
        if isinstance(running.ending, Failed):
            self._forget(create.previous_response_id)
        elif not running.request.stored:
            self._remembered = {running.request.response_id: running.items}

    def _forget(self, previous_response_id: str | None) -> None:
        """What could not be gone on from is evicted: the client starts anew instead of failing again."""
        if previous_response_id is not None:
            self._remembered.pop(previous_response_id, None)

    async def _grow_old(self) -> None:
        await anyio.sleep(self._limits.age_seconds)
        await self._socket.send(frame(socket_error(ConnectionLimitReached(self._limits.age_seconds))))
        # 1000 in the middle of an answer would tell an SDK that this was its end.
        await self._socket.close(RESTART if self._answering else IDLE, "this connection has reached its age limit")

    async def _await_the_first_event(self) -> None:
        with anyio.move_on_after(self._limits.first_event_seconds):
            await self._spoken.wait()
        if not self._spoken.is_set():
            await self._socket.close(IDLE, "no event has arrived")

    async def _watch(self) -> None:
        await self._revocations.watch(self._identity, self._presented, self._revoked, since=self._heard)

    async def _revoked(self) -> None:
        await self._socket.close(POLICY_VIOLATION, "the credential is no longer valid")

    async def _user(self) -> User:
        """Asked again for every request: a session may have ended since the handshake."""
        return await self._identity.revalidate(self._presented)

    async def _refuse(self, error: ParleyError, stream_id: str | None = None) -> None:
        await self._socket.send(addressed(frame(socket_error(error)), stream_id))
        if isinstance(error, Unauthenticated):
            await self._revoked()


handshake_described: dict[str, Any] = {
    "summary": "Open a WebSocket (RFC 6455)",
    "status_code": 426,
    "responses": {101: {}} | refused_with(401, 403, 426, 429, 503),
}


async def upgrade_required() -> None:
    """A plain GET on a socket's path."""
    raise UpgradeRequired


def _resume(websocket: WebSocket[State]) -> Resume | None:
    response_id = websocket.query_params.get("resume")
    starting_after = websocket.query_params.get("starting_after")
    if response_id is None and starting_after is not None:
        raise InvalidRequest("`starting_after` says from where on; `resume` says which response", param="resume")
    if response_id is None:
        return None
    if starting_after is None:
        return Resume(response_id, -1)
    number = int(starting_after) if re.fullmatch(r"[0-9]{1,10}", starting_after) else -1
    if not 0 <= number <= MAX_SEQUENCE_NUMBER:
        raise InvalidRequest("expected the number of an event", param="starting_after", code="invalid_value")
    return Resume(response_id, number)
