from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from socket import create_connection

import pytest
from redis.asyncio import Redis

from dev.ports import free_port
from dev.process import Command, Process


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    yield from _running(tmp_path_factory.mktemp("redis"))


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[Process]:
    """As in production: whatever it has acknowledged is there again after a kill."""
    yield from _running(tmp_path, "--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture
async def redis(redis_process: Process) -> AsyncIterator[Redis]:
    async with Redis(port=redis_process.command.port) as client:
        await client.flushall()
        yield client


@pytest.fixture
def port(redis: Redis, redis_process: Process) -> int:
    """Of a Redis with nothing in it."""
    return redis_process.command.port


def _running(folder: Path, *more: str) -> Iterator[Process]:
    port = free_port()

    def answers() -> bool:
        with create_connection(("127.0.0.1", port), timeout=2):
            return True

    arguments = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder), *more]
    process = Process(Command("redis", arguments, answers, port), folder / "log", folder)
    process.start()
    process.wait_ready()
    yield process
    process.stop()
