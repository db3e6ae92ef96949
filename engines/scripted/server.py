import asyncio
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engines.scripted.connection import Connection
from engines.scripted.endpoints import Engine
from engines.scripted.settings import EngineSettings


@asynccontextmanager
async def listening(settings: EngineSettings) -> AsyncIterator[str]:
    """Yields the base URL; on exit, aborts every answer."""
    engine, connections = Engine(settings), set[Connection]()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(engine, connections),
        settings.host,
        settings.port,
        # A thousand clients may connect at once; a full backlog would cost each of them a second.
        backlog=4096,
    )
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for connection in tuple(connections):
            connection.abort()
        await server.wait_closed()


async def serve(settings: EngineSettings) -> None:
    """Until SIGTERM or SIGINT."""
    _allow_many_sockets()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with listening(settings) as url:
        print(f"scripted engine: {settings.model} on {url}", flush=True)
        await stopped.wait()


def _allow_many_sockets() -> None:
    # The usual soft limit of 1,024 files is below what a benchmark opens.
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
