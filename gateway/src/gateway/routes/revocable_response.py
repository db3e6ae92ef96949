"""A stream over HTTP that ends with the credential it was requested with, as a socket is closed."""

import asyncio

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.errors import Unauthenticated
from gateway.identity.introspection import User
from gateway.protocol.events import frame, socket_error
from gateway.routes.event_stream import DONE, error_chunk, event
from gateway.routes.json_responses import error_response
from gateway.routes.state import lifespan_state

LAST_EVENT = (event(frame(socket_error(Unauthenticated()))) + DONE).encode()
LAST_CHUNK = error_chunk(Unauthenticated())


class RevocableResponse(Response):
    """Replaces the rest of `response` with `last` once the credential ends, or all of it with a 401 if nothing has
    been sent."""

    def __init__(self, user: User, response: Response, last: bytes = LAST_EVENT) -> None:
        super().__init__()
        self._user = user
        self._response = response
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        recorder, revoked = _SendRecorder(send), asyncio.Event()

        async def close() -> None:
            revoked.set()

        state = lifespan_state(scope)
        responding = asyncio.create_task(self._response(scope, receive, recorder))
        watching = asyncio.create_task(state["revocations"].watch(state["identity"], self._user, close))
        try:
            await asyncio.wait((responding, watching), return_when=asyncio.FIRST_COMPLETED)
            if not revoked.is_set():
                await responding
        finally:
            # Cancelled once only: the response's own clean-up, like accounting, must not be cancelled in its turn.
            responding.cancel()
            watching.cancel()
            await asyncio.gather(responding, watching, return_exceptions=True)
        if not recorder.started:
            await error_response(Unauthenticated())(scope, receive, send)
        elif not recorder.finished:
            await send({"type": "http.response.body", "body": self._last, "more_body": False})


class _SendRecorder:
    """How much of a response has been sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = self.finished = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        self.finished = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)
