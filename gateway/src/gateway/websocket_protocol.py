"""uvicorn's WebSocket protocol, extended to close floods of control frames and to reject invalid handshakes."""

import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Response

from gateway.errors import InternalError, InvalidRequest

# Pings, pongs and fragments are handled below the application, so it exerts no back pressure on their sender: 10 MB of
# empty pings kept a gateway busy for 9 s. A well-behaved client sends a ping every few seconds.
_MAX_FRAMES_PER_WINDOW = 1000
_WINDOW_SECONDS = 10.0
# Much data may arrive at once; after the frame that exceeds the limit, at most this much of it is parsed.
_CHUNK_BYTES = 4096
# Closing a connection while data is still arriving resets it, and the client never receives the close code.
_CLOSE_GRACE_SECONDS = 1.0


class WebSocketProtocol(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._window_start = self.loop.time()
        self._frame_count = 0
        self._failed = False
        self._plain_rejection = self.conn.reject
        self.conn.reject = self._rejection  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _CHUNK_BYTES):
            if not self._failed:
                super().data_received(data[start : start + _CHUNK_BYTES])
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._reject_handshake()

    def handle_ping(self) -> None:
        if self._count_frame():
            super().handle_ping()

    def handle_pong(self, event: Any) -> None:
        if self._count_frame():
            super().handle_pong(event)

    def handle_cont(self, event: Any) -> None:
        if self._count_frame():
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """uvicorn decodes it too, but logs a traceback for what is a client's error."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self._fail(1007, "expected UTF-8")
        else:
            super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Discards what the client still sends, and leaves it time to read the close code."""
        if self._failed:
            return
        self._failed = True
        close = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code if close else 1006})
        if close is None:
            # Frames arrived before the handshake was complete: there is no WebSocket yet to close with a code.
            self.transport.close()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_CLOSE_GRACE_SECONDS, self.transport.close)

    def _count_frame(self) -> bool:
        """False if the frame is to be dropped: the connection has failed, with this frame or before it."""
        if self._failed:
            return False
        now = self.loop.time()
        if now - self._window_start > _WINDOW_SECONDS:
            self._window_start, self._frame_count = now, 0
        self._frame_count += 1
        if self._frame_count <= _MAX_FRAMES_PER_WINDOW:
            return True
        self._fail(1008, "too many control frames and fragments")
        return False

    def _fail(self, code: int, reason: str) -> None:
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def _reject_handshake(self) -> None:
        """For too many headers, or a body: uvicorn would not respond at all."""
        self._failed = True
        rejection = self.conn.reject(HTTPStatus.BAD_REQUEST, "expected a WebSocket handshake (RFC 6455)")
        self.transport.write(rejection.serialize())
        self.transport.close()

    def _rejection(self, status: HTTPStatus | int, text: str) -> Response:
        """For every handshake that the application does not see. The library's own is plain text."""
        message = " ".join(text.split())
        error = InvalidRequest(message) if status < HTTPStatus.INTERNAL_SERVER_ERROR else InternalError()
        rejection = self._plain_rejection(status, json.dumps({"error": error.body()}))
        del rejection.headers["Content-Type"]
        rejection.headers["Content-Type"] = "application/json"
        return rejection


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
