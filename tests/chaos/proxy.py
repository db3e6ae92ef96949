"""The cable between a gateway and what it needs: sound, until a test says otherwise."""

import asyncio
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536
# What a socket without any patience for its last bytes is closed with: RST instead of FIN.
_NO_LINGER = struct.pack("ii", 1, 0)


class _Wire:
    """One connection through the cable."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = (client, server)
        self.forgotten = False
        self.muted = False
        self.bytes_left: float = float("inf")

    def reset(self) -> None:
        for end in self._ends:
            if not end.is_closing():
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            end.transport.abort()

    def close(self) -> None:
        for end in self._ends:
            end.close()


class Proxy:
    """Of one local port. Every fault is of the connections there are, but for `stall` and `refuse`, which last."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self._wires: set[_Wire] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._mutes: Callable[[bytes], bool] = lambda _: False
        self.has_muted = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def sound(self) -> None:
        """Ends what lasts."""
        self._refusing = False
        self._flowing.set()

    def stall(self) -> None:
        """Nothing arrives any more, and nothing is lost: a link that is down for a while."""
        self._flowing.clear()

    def refuse(self) -> None:
        """New connections are reset at once."""
        self._refusing = True

    def reset(self) -> None:
        for wire in tuple(self._wires):
            wire.reset()

    def close(self) -> None:
        for wire in tuple(self._wires):
            wire.close()

    def forget(self) -> None:
        """Half-open: they stay open and what is sent on them is lost, as behind a firewall that was restarted."""
        for wire in self._wires:
            wire.forgotten = True

    def cut_after(self, size: int) -> None:
        """So many bytes of the server's still arrive on each."""
        for wire in self._wires:
            wire.bytes_left = size

    def mute_behind(self, request: Callable[[bytes], bool]) -> None:
        """The first such request still reaches the server, and no answer to it ever comes back."""
        self._mutes = request
        self.has_muted.clear()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._server.wait_closed()

    def _connected(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._joined(client, to_client))
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)

    async def _joined(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            to_client.transport.abort()
            return
        wire = _Wire(to_client, to_server)
        if self._refusing:
            wire.reset()
            return
        self._wires.add(wire)
        asking = asyncio.create_task(self._pump(wire, client, to_server, counts=False))
        try:
            await self._pump(wire, server, to_client, counts=True)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._wires.discard(wire)
            wire.close()

    async def _pump(
        self, wire: _Wire, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counts: bool
    ) -> None:
        """Until the source ends; the end of either is the end of both."""
        try:
            while data := await source.read(_CHUNK_BYTES):
                await self._flowing.wait()
                if wire.forgotten or (wire.muted and counts):
                    continue
                if sink.is_closing():
                    return
                if counts and len(data) > wire.bytes_left:
                    sink.write(data[: int(wire.bytes_left)])
                    return
                wire.bytes_left -= len(data) if counts else 0
                self._listen(wire, data, asks=not counts)
                sink.write(data)
                await sink.drain()
        except OSError:
            return
        finally:
            if not wire.forgotten:
                wire.close()

    def _listen(self, wire: _Wire, data: bytes, *, asks: bool) -> None:
        if asks and self._mutes(data):
            self._mutes = lambda _: False
            wire.muted = True
            self.has_muted.set()
