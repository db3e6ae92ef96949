"""A cable to a local port: it may break once, wherever that is in a frame, and what is asked over it may be heard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

Hear = Callable[[bytes], object]
"""Gets what the client of one connection sends, as it goes by."""


def _deaf() -> Hear:
    return lambda _: None


class Cable:
    """The first connection ends after so many bytes from the server; those after it are sound."""

    def __init__(
        self, port: int, *, breaks_after_bytes: float = float("inf"), hear: Callable[[], Hear] = _deaf
    ) -> None:
        self.connections = 0
        self._target = port
        self._left = breaks_after_bytes
        self._hear = hear
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
                asking = asyncio.create_task(_pass_on(client, to_server, hear=self._hear()))
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
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, left: float = float("inf"), *, hear: Hear = lambda _: None
) -> None:
    while left > 0 and (data := await source.read(65536)):
        hear(data)
        sink.write(data[: int(min(left, len(data)))])
        await sink.drain()
        left -= len(data)
