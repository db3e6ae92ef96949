"""A real redis-server as the product runs it: the same users and the same options."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from dev.ports import free_port
from dev.redis_server import arguments, users_acl

PASSWORD: Final = "kL2mP8qR4tV6xZ1b"


@dataclass(frozen=True)
class RedisServer:
    process: "subprocess.Popen[bytes]"
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, user: str) -> "Redis":
        return Redis(port=self.port, username=user, password=PASSWORD, decode_responses=True, socket_timeout=10)


@contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    users = folder / "users.acl"
    # One password for both services.
    users.write_text(users_acl(gateway_password=PASSWORD, auth_service_password=PASSWORD, guard_password=PASSWORD))
    port = free_port()
    command = arguments(port=port, folder=folder, acl_file=users)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    server = RedisServer(process, port)
    try:
        _wait_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def _wait_ready(server: RedisServer) -> None:
    while server.process.poll() is None:
        try:
            with server.client("gateway") as client:
                client.ping()
        except RedisConnectionError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError("redis-server ended while it started")
