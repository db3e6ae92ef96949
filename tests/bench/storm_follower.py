"""A cheap follower of a running answer: two thousand of them share a machine with the stack that they measure."""

import asyncio
import os
import re
import secrets
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

_TEXT, _CLOSE, _PING = 1, 8, 9
_NUMBER = re.compile(rb'"sequence_number":(\d+)')
_RETRY_AFTER = re.compile(rb"(?i)\r\nretry-after: (\d+)")
_BACKOFF_SECONDS = (0.25, 0.5, 1.0, 2.0)
_random = secrets.SystemRandom()
_UPGRADE = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"


class Refused(Exception):
    """Not 101; `after_seconds` is Retry-After, None without one."""

    def __init__(self, status: int, after_seconds: float | None) -> None:
        super().__init__(f"{status}, Retry-After: {after_seconds}")
        self.after_seconds = after_seconds


@dataclass(slots=True)
class Tally:
    refusals: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    gaps: int = 0


@dataclass(slots=True)
class Follower:
    """`on_event` is called for each event, `on_loss` when the connection ends."""

    port: int
    key: str
    response_id: str
    tally: Tally
    on_event: Callable[["Follower"], None]
    on_loss: Callable[["Follower"], None]
    jitter_seconds: float
    last: int = -1

    async def run(self) -> None:
        """Until cancelled: reconnects whenever its connection breaks."""
        failures = 0
        while True:
            before = self.last
            try:
                await self._follow()
            except Refused as exc:
                self.tally.refusals[str(exc)] += 1
                await asyncio.sleep((exc.after_seconds or 0) * _random.uniform(1, 2))
            except (OSError, asyncio.IncompleteReadError) as exc:
                self.tally.broken[type(exc).__name__] += 1
            if self.last > before:
                failures = 0
                self.on_loss(self)
                await asyncio.sleep(_random.uniform(0, self.jitter_seconds))
            else:
                await asyncio.sleep(_BACKOFF_SECONDS[min(failures, 3)] * _random.uniform(0.5, 1))
                failures += 1

    async def _follow(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self._handshake())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                after = _RETRY_AFTER.search(head)
                raise Refused(int(head.split(b" ")[1]), float(after[1]) if after else None)
            while True:
                await self._frame(reader, writer)
        finally:
            writer.transport.abort()

    def _handshake(self) -> bytes:
        after = f"&starting_after={self.last}" if self.last >= 0 else ""
        key = b64encode(os.urandom(16)).decode()
        return (
            f"GET /v1/responses?resume={self.response_id}{after} HTTP/1.1\r\nHost: localhost\r\n{_UPGRADE}"
            f"Sec-WebSocket-Key: {key}\r\nAuthorization: Bearer {self.key}\r\n\r\n"
        ).encode()

    async def _frame(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, size = await reader.readexactly(2)
        if size > 125:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
        data = await reader.readexactly(size)
        match first & 0x0F:
            case kind if kind == _PING:
                writer.write(bytes([0x8A, 0x80 | size, 0, 0, 0, 0]) + data)
            case kind if kind == _CLOSE:
                raise OSError(f"closed with {int.from_bytes(data[:2])}")
            case kind if kind == _TEXT:
                self._take(data)

    def _take(self, data: bytes) -> None:
        found = _NUMBER.search(data)
        if found is None:
            raise OSError(data[:200].decode())
        number = int(found[1])
        self.tally.gaps += number != self.last + 1
        self.last = number
        self.on_event(self)
