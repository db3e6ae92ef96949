from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from socket import create_connection

import pytest
from redis.asyncio import Redis

from dev.ports import free_port
from dev.process import Command, Process


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder: Path = tmp_path_factory.mktemp("redis")
    port = free_port()

    def answers() -> bool:
        with create_connection(("127.0.0.1", port), timeout=2):
            return True

    arguments = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = Process(Command("redis", arguments, answers, port), folder / "log", folder)
    process.start()
    process.wait_ready()
    yield process
    process.stop()


@pytest.fixture
async def redis(redis_process: Process) -> AsyncIterator[Redis]:
    async with Redis(port=redis_process.command.port) as client:
        await client.flushall()
        yield client
