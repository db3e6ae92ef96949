"""A TCP proxy between a gateway and a dependency, with faults that a test turns on."""

import asyncio
import socket
import struct
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 65_536
# A linger time of zero closes a socket with RST instead of FIN.
_NO_LINGER = struct.pack("ii", 1, 0)


class _Connection:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._ends = (client, server)
        self.is_half_open = False
        self.is_muted = False
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
    """For one local port. Faults affect the open connections; only `stall` and `refuse` last, until `restore`."""

    def __init__(self, target: int = 0) -> None:
        self.target = target
        self._connections: set[_Connection] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._is_flowing = asyncio.Event()
        self._is_flowing.set()
        self._is_refusing = False
        self._drops_reply_to: Callable[[bytes], bool] = lambda _: False
        self.dropped_reply = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def restore(self) -> None:
        """Ends `stall` and `refuse`."""
        self._is_refusing = False
        self._is_flowing.set()

    def stall(self) -> None:
        """Delays all bytes and loses none, like a link that is down for a while."""
        self._is_flowing.clear()

    def refuse(self) -> None:
        """New connections are reset at once."""
        self._is_refusing = True

    def reset(self) -> None:
        for connection in tuple(self._connections):
            connection.reset()

    def close(self) -> None:
        for connection in tuple(self._connections):
            connection.close()

    def forget(self) -> None:
        """Half-open connections: they stay open and lose every byte, as behind a firewall that was restarted."""
        for connection in self._connections:
            connection.is_half_open = True

    def cut_after(self, size: int) -> None:
        """Each connection delivers `size` more bytes of the server and then closes."""
        for connection in self._connections:
            connection.bytes_left = size

    def drop_reply_to(self, request: Callable[[bytes], bool]) -> None:
        """The first matching request reaches the server, but no reply is returned on its connection any more."""
        self._drops_reply_to = request
        self.dropped_reply.clear()

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
        task = asyncio.ensure_future(self._relay(client, to_client))
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)

    async def _relay(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        await self._is_flowing.wait()
        try:
            server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            to_client.transport.abort()
            return
        connection = _Connection(to_client, to_server)
        if self._is_refusing:
            connection.reset()
            return
        self._connections.add(connection)
        asking = asyncio.create_task(self._pump(connection, client, to_server, counts=False))
        try:
            await self._pump(connection, server, to_client, counts=True)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            self._connections.discard(connection)
            connection.close()

    async def _pump(
        self, connection: _Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counts: bool
    ) -> None:
        """Until the source closes; closing either side closes both."""
        try:
            while data := await source.read(_CHUNK_BYTES):
                await self._is_flowing.wait()
                if connection.is_half_open or (connection.is_muted and counts):
                    continue
                if sink.is_closing():
                    return
                if counts and len(data) > connection.bytes_left:
                    sink.write(data[: int(connection.bytes_left)])
                    return
                connection.bytes_left -= len(data) if counts else 0
                self._check_request(connection, data, asks=not counts)
                sink.write(data)
                await sink.drain()
        except OSError:
            return
        finally:
            if not connection.is_half_open:
                connection.close()

    def _check_request(self, connection: _Connection, data: bytes, *, asks: bool) -> None:
        if asks and self._drops_reply_to(data):
            self._drops_reply_to = lambda _: False
            connection.is_muted = True
            self.dropped_reply.set()
