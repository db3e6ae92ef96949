"""A stream over HTTP ends with the credential that it was asked for with, as a socket is closed."""

import asyncio

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.errors import Unauthenticated
from gateway.identity.introspection import User
from gateway.protocol.events import frame, socket_error
from gateway.routes.refusal import refusal

LAST_EVENT = f"event: error\ndata: {frame(socket_error(Unauthenticated()))}\n\ndata: [DONE]\n\n".encode()
# Of a chat completion, whose events have no type.
LAST_CHUNK = b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode({"error": Unauthenticated().body()})


class RevocableResponse(Response):
    """`last` is what a client reads instead of the rest; it is a 401 when nothing has been sent yet."""

    def __init__(self, user: User, answer: Response, last: bytes = LAST_EVENT) -> None:
        super().__init__()
        self._user = user
        self._whole = answer
        self._last = last

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent, revoked = _Sent(send), asyncio.Event()

        async def close() -> None:
            revoked.set()

        state = scope["state"]
        answering = asyncio.create_task(self._whole(scope, receive, sent))
        watching = asyncio.create_task(state["revocations"].watch(state["identity"], self._user, close))
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
            if not revoked.is_set():
                await answering
        finally:
            # Once each: what an answer does when it is left, like accounting, must not be cancelled in its turn.
            answering.cancel()
            watching.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
        if not sent.begun:
            await refusal(Unauthenticated())(scope, receive, send)
        elif not sent.over:
            await send({"type": "http.response.body", "body": self._last, "more_body": False})


class _Sent:
    """What a client was sent of an answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = self.over = False

    async def __call__(self, message: Message) -> None:
        self.begun = True
        self.over = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)
