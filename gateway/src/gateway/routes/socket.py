"""What both WebSocket protocols share: text frames in, a short request queue, one answer at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

logger = logging.getLogger(__name__)

# RFC 6455, 7.4.1; 1012 is from IANA's registry of close codes.
NORMAL_CLOSURE = 1000
UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012

MAX_QUEUED_REQUESTS = 8

T = TypeVar("T")


class ClientDisconnected(Exception):
    """The client has disconnected, so nothing more is sent to it. A stored turn continues."""


class Socket:
    def __init__(self, websocket: WebSocket[Any]) -> None:
        self._websocket = websocket
        self._writing = asyncio.Lock()

    async def frames(self) -> AsyncIterator[str]:
        """Text frames until the client disconnects; a binary one closes the socket with 1003."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                await self.close(UNSUPPORTED_DATA, "expected a text frame")
                return
            yield text

    async def send(self, text: str) -> None:
        """Raises ClientDisconnected."""
        async with self._writing:
            if self._websocket.application_state is not WebSocketState.CONNECTED:
                raise ClientDisconnected
            try:
                await self._websocket.send_text(text)
            except (WebSocketDisconnect, RuntimeError) as exc:
                raise ClientDisconnected from exc

    async def close(self, code: int, reason: str = "") -> None:
        async with self._writing:
            if self._websocket.application_state is WebSocketState.CONNECTED:
                try:
                    await self._websocket.close(code, reason)
                except (WebSocketDisconnect, RuntimeError):
                    return


class RequestQueue(Generic[T]):
    """The requests of one socket: `receive` reads each frame and may `put` a request, `answer` handles them in
    order."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._requests: asyncio.Queue[T] = asyncio.Queue(MAX_QUEUED_REQUESTS)

    def put(self, request: T) -> bool:
        """False if the queue is full."""
        if self._requests.full():
            return False
        self._requests.put_nowait(request)
        return True

    async def run(
        self,
        receive: Callable[[str], Awaitable[None]],
        answer: Callable[[T], Awaitable[None]],
        *watches: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Until the client disconnects. A bug closes this socket with 1011, and no other."""

        async def answer_all() -> None:
            while True:
                await answer(await self._requests.get())

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(answer_all)
                for watch in watches:
                    tasks.start_soon(watch)
                async for text in self._socket.frames():
                    await receive(text)
                tasks.cancel_scope.cancel()
        except* ClientDisconnected:
            pass
        except* Exception:
            logger.exception("a socket failed unexpectedly")
            await self._socket.close(INTERNAL_ERROR, "an unexpected failure")
