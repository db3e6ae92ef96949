import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from socket import create_connection

import pytest
from redis.asyncio import Redis

from dev.ports import free_port
from dev.process import Command, Process
from dev.redis_server import arguments, users_acl

# Rules that the tests need in addition to those of the gateway.
RULES_OF_TESTS = (
    "~much:* ~aside +flushall +keys +monitor +client|kill +config|set +replicaof +psync +replconf +bgrewriteaof"
)


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    yield from running_redis(tmp_path_factory.mktemp("redis"), "--appendonly", "no")


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[Process]:
    """As in production: what it has acknowledged survives a kill."""
    yield from running_redis(tmp_path)


@pytest.fixture
async def redis(redis_process: Process) -> AsyncIterator[Redis]:
    async with Redis(port=redis_process.command.port) as client:
        await client.flushall()
        yield client


@pytest.fixture
def port(redis: Redis, redis_process: Process) -> int:
    """Of an empty Redis."""
    return redis_process.command.port


def running_redis(folder: Path, *more: str) -> Iterator[Process]:
    folder.mkdir(exist_ok=True)
    port = free_port()

    def answers() -> bool:
        with create_connection(("127.0.0.1", port), timeout=2):
            return True

    users = folder / "users.acl"
    users.write_text(_users())
    command = [*arguments(port=port, folder=folder, acl_file=users), *more]
    process = Process(Command("redis", command, answers, port), folder / "log", folder)
    process.start()
    process.wait_ready()
    yield process
    process.stop()


def _users() -> str:
    """A connection without credentials has the gateway's rules, so that no test passes with a command or a key that the
    product's Redis would refuse."""
    users = users_acl(gateway_password="gateway", auth_service_password="auth-service", guard_password="guard")
    [rules] = re.findall(r"^user gateway on #\w+ (.*)$", users, re.MULTILINE)
    return re.sub(r"^user default .*$", f"user default on nopass {rules} {RULES_OF_TESTS}", users, flags=re.MULTILINE)
