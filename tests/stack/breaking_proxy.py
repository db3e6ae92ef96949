"""A TCP proxy to a local port that can break one connection, inside any frame, and can observe the client's bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

Observer = Callable[[bytes], object]
"""Receives the bytes that the client of one connection sends."""


def _no_observer() -> Observer:
    return lambda _: None


class BreakingProxy:
    """The first connection breaks after `breaks_after_bytes` from the server; later ones do not break."""

    def __init__(
        self, port: int, *, breaks_after_bytes: float = float("inf"), observe: Callable[[], Observer] = _no_observer
    ) -> None:
        self.connections = 0
        self._target = port
        self._left = breaks_after_bytes
        self._observe = observe
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        def connected(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._connect(client, to_client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._server = await asyncio.start_server(connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connect(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.connections += 1
        left, self._left = self._left, float("inf")
        async with _torn_down(to_client):
            server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
            async with _torn_down(to_server):
                asking = asyncio.create_task(_pass_on(client, to_server, observe=self._observe()))
                answering = asyncio.create_task(_pass_on(server, to_client, left))
                try:
                    await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    asking.cancel()
                    answering.cancel()
                    await asyncio.gather(asking, answering, return_exceptions=True)


@asynccontextmanager
async def _torn_down(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        writer.close()
        writer.transport.abort()


async def _pass_on(
    source: asyncio.StreamReader,
    sink: asyncio.StreamWriter,
    left: float = float("inf"),
    *,
    observe: Observer = lambda _: None,
) -> None:
    while left > 0 and (data := await source.read(65536)):
        observe(data)
        sink.write(data[: int(min(left, len(data)))])
        await sink.drain()
        left -= len(data)
