"""A real redis-server with the users that secrets/prepare.sh creates."""

import hashlib
import re
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
from dev.stack import ROOT

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
    users.write_text(_users())
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", "--aclfile", str(users)]
    process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    server = RedisServer(process, port)
    try:
        _wait_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


def _users() -> str:
    """Returns the script's ACL file, with the same password for both services."""
    [script] = re.findall(r"<<ACL\n(.*?)ACL\n", (ROOT / "secrets/prepare.sh").read_text(), re.DOTALL)
    return str(re.sub(r"\$\w*hash", hashlib.sha256(PASSWORD.encode()).hexdigest(), script))


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
