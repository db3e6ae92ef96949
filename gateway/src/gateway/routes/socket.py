"""What both WebSocket protocols share: text frames in through a bounded queue, one writer, a noticed goodbye."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

UNSUPPORTED_DATA = 1003
POLICY_VIOLATION = 1008


class Gone(Exception):
    """The client has left; whatever was being sent to it is not needed."""


class Socket:
    """A turn goes on when its socket goes: only the sending ends."""

    def __init__(self, websocket: WebSocket[Any]) -> None:
        self._websocket = websocket
        self._writing = asyncio.Lock()

    async def frames(self) -> AsyncIterator[str]:
        """Text frames until the client leaves; a binary one closes the socket with 1003."""
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
        """Raises Gone."""
        async with self._writing:
            if self._websocket.application_state is not WebSocketState.CONNECTED:
                raise Gone
            try:
                await self._websocket.send_text(text)
            except (WebSocketDisconnect, RuntimeError) as exc:
                raise Gone from exc

    async def close(self, code: int, reason: str = "") -> None:
        async with self._writing:
            if self._websocket.application_state is WebSocketState.CONNECTED:
                try:
                    await self._websocket.close(code, reason)
                except (WebSocketDisconnect, RuntimeError):
                    return
