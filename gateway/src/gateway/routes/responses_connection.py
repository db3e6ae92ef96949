"""WebSocket mode of /v1/responses: one response at a time, further requests wait in a short queue."""

from dataclasses import dataclass

import anyio

from gateway.errors import ConnectionLimitReached, InvalidJson, ParleyError, TooManyRequests, Unauthenticated
from gateway.identity.introspection import User
from gateway.pauses import SMALL_BYTES, pause
from gateway.protocol.create import ResponseCreate
from gateway.protocol.events import frame, socket_error, with_stream_id
from gateway.protocol.items import Item
from gateway.protocol.requests import ClientFrame, ResponseCancel, idempotency_key_of
from gateway.routes.socket import (
    MAX_QUEUED_REQUESTS,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    SERVICE_RESTART,
    RequestQueue,
    Socket,
)
from gateway.routes.state import State
from gateway.runtime.acceptance import StartedTurn
from gateway.runtime.running import RunningTurn
from gateway.turn.state_machine import Failed

_MAX_INVALID_FRAMES = 3


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """Follow a response from the handshake on; `starting_after` is -1 for all its events."""

    response_id: str
    starting_after: int


class ResponsesConnection:
    def __init__(self, socket: Socket, user: User, revocations_before: int, state: State) -> None:
        """`revocations_before`: their number before the credential of `user` was introspected."""
        self._socket = socket
        self._queue: RequestQueue[ResponseCreate | ResumeRequest] = RequestQueue(socket)
        self._user = user
        self._revocations_before = revocations_before
        self._identity = state["identity"]
        self._revocations = state["revocations"]
        self._turns = state["turns"]
        self._follower = state["follower"]
        self._limits = state["socket_limits"]
        self._invalid_frames = 0
        self._first_event = anyio.Event()
        self._answering = False
        # The history up to the last response, if that is not stored: only this connection can continue from it.
        self._unstored: dict[str, tuple[Item, ...]] = {}

    async def run(self, resume: ResumeRequest | None) -> None:
        if resume is not None:
            self._first_event.set()
            self._queue.put(resume)
        await self._queue.run(
            self._receive,
            self._answer,
            self._enforce_max_age,
            self._enforce_first_event_timeout,
            self._watch_credential,
        )

    async def _receive(self, text: str) -> None:
        self._first_event.set()
        if len(text) > SMALL_BYTES:
            await pause()
        try:
            client_frame = ClientFrame.read(text)
        except InvalidJson as exc:
            await self._send_error(exc)
            self._invalid_frames += 1
            if self._invalid_frames == _MAX_INVALID_FRAMES:
                await self._socket.close(POLICY_VIOLATION, "three frames that are not JSON objects")
            return
        try:
            event = client_frame.event()
        except ParleyError as exc:
            self._evict(client_frame.previous_response_id)
            await self._send_error(exc, client_frame.stream_id)
            return
        if isinstance(event, ResponseCancel):
            await self._cancel(event)
        elif not self._queue.put(event):
            full = TooManyRequests(f"{MAX_QUEUED_REQUESTS} requests are already queued on this socket")
            await self._send_error(full, event.stream_id)

    async def _cancel(self, cancel: ResponseCancel) -> None:
        try:
            user = await self._check_user()
            await self._follower.cancel(user.id, cancel.response_id)
        except ParleyError as exc:
            await self._send_error(exc)

    async def _answer(self, request: ResponseCreate | ResumeRequest) -> None:
        self._answering = True
        try:
            if isinstance(request, ResumeRequest):
                await self._resume(request)
            else:
                await self._create(request)
        finally:
            self._answering = False

    async def _create(self, create: ResponseCreate) -> None:
        try:
            started = await self._start(create)
        except ParleyError as exc:
            self._evict(create.previous_response_id)
            await self._send_error(exc, create.stream_id)
            return
        running = started.running
        try:
            async for text in self._follower.follow(self._user.id, started.response_id, running=running):
                await self._socket.send(with_stream_id(text, create.stream_id))
        finally:
            if running is not None:
                running.stop_unless_stored()
        if running is not None:
            self._keep_unstored(create, running)

    async def _start(self, create: ResponseCreate) -> StartedTurn:
        user = await self._check_user()
        started = await self._turns.start(user.id, create, self._unstored, idempotency_key=idempotency_key_of(create))
        await self._follower.check(user.id, started.response_id, running=started.running)
        return started

    async def _resume(self, resume: ResumeRequest) -> None:
        try:
            user = await self._check_user()
            await self._follower.check(user.id, resume.response_id)
            async for text in self._follower.follow(user.id, resume.response_id, resume.starting_after):
                await self._socket.send(text)
        except ParleyError as exc:
            await self._send_error(exc)

    def _keep_unstored(self, create: ResponseCreate, running: RunningTurn) -> None:
        if isinstance(running.ending, Failed):
            self._evict(create.previous_response_id)
        elif not running.request.stored:
            self._unstored = {running.request.response_id: running.items}

    def _evict(self, previous_response_id: str | None) -> None:
        """A response that could not be continued from is dropped: the client starts anew instead of failing again."""
        if previous_response_id is not None:
            self._unstored.pop(previous_response_id, None)

    async def _enforce_max_age(self) -> None:
        await anyio.sleep(self._limits.age_seconds)
        await self._socket.send(frame(socket_error(ConnectionLimitReached(self._limits.age_seconds))))
        # An SDK would take 1000 in the middle of a response for its end.
        code = SERVICE_RESTART if self._answering else NORMAL_CLOSURE
        await self._socket.close(code, "this connection has reached its age limit")

    async def _enforce_first_event_timeout(self) -> None:
        with anyio.move_on_after(self._limits.first_event_seconds):
            await self._first_event.wait()
        if not self._first_event.is_set():
            await self._socket.close(NORMAL_CLOSURE, "no event has arrived")

    async def _watch_credential(self) -> None:
        await self._revocations.watch(self._identity, self._user, self._close_revoked, since=self._revocations_before)

    async def _close_revoked(self) -> None:
        await self._socket.close(POLICY_VIOLATION, "the credential is no longer valid")

    async def _check_user(self) -> User:
        """For every request: the session may have ended since the handshake."""
        return await self._identity.revalidate(self._user)

    async def _send_error(self, error: ParleyError, stream_id: str | None = None) -> None:
        await self._socket.send(with_stream_id(frame(socket_error(error)), stream_id))
        if isinstance(error, Unauthenticated):
            await self._close_revoked()
