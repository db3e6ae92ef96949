"""uvicorn's WebSocket protocol with an answer where it has none: to floods, and to what is not even a handshake."""

from http import HTTPStatus
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# Pings, pongs and fragments are dealt with before the application hears of them, so nothing holds their sender back:
# 10 MB of empty pings kept a gateway busy for 9 s. A client in order sends a ping every few seconds.
_FRAMES = 1000
_SECONDS = 10.0
# Much may arrive at once; after the frame that was one too many, no more than this is looked at.
_SLICE_BYTES = 4096
# A connection that is closed while more is arriving is reset, and with that the close code is lost on its way.
_LAST_WORDS_SECONDS = 1.0

_TOO_MANY = "too many frames that are no message"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._counting_since = self.loop.time()
        self._counted = 0
        self._ended = False

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), _SLICE_BYTES):
            if not self._ended:
                super().data_received(data[start : start + _SLICE_BYTES])
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake()

    def handle_ping(self) -> None:
        if self._is_bearable():
            super().handle_ping()

    def handle_pong(self, event: Any) -> None:
        if self._is_bearable():
            super().handle_pong(event)

    def handle_cont(self, event: Any) -> None:
        if self._is_bearable():
            super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """uvicorn checks a text too, but what a client did wrong becomes a traceback in the log."""
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self._end(1007, "expected UTF-8")
        else:
            super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Whatever the client still sends is dropped unread, until it has had time to read why."""
        if self._ended:
            return
        self._ended = True
        close = self.conn.close_sent
        self.queue.put_nowait({"type": "websocket.disconnect", "code": close.code if close else 1006})
        if close is None:
            # Frames came before the handshake was answered: there is no WebSocket yet to be closed with a code.
            self.transport.close()
            return
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LAST_WORDS_SECONDS, self.transport.close)

    def _is_bearable(self) -> bool:
        if self._ended:
            return False
        now = self.loop.time()
        if now - self._counting_since > _SECONDS:
            self._counting_since, self._counted = now, 0
        self._counted += 1
        if self._counted <= _FRAMES:
            return True
        self._end(1008, _TOO_MANY)
        return False

    def _end(self, code: int, reason: str) -> None:
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def _refuse_handshake(self) -> None:
        """More headers than expected, or a body: uvicorn would leave the client waiting."""
        self._ended = True
        refusal = self.conn.reject(HTTPStatus.BAD_REQUEST, "This is not a handshake of RFC 6455.\n")
        self.transport.write(refusal.serialize())
        self.transport.close()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
