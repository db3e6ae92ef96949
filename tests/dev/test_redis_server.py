"""The local Redis has the product's options and users, and keeps every transaction across a restart."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from dev import readiness
from dev.ports import free_port
from dev.process import Command, Process
from dev.redis_server import ADMIN_USER, OPTIONS, arguments, users_acl
from dev.stack import ROOT

PASSWORD = "pw"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    port, acl_file = free_port(), tmp_path / "users.acl"
    acl_file.write_text(
        users_acl(
            gateway_password=PASSWORD, auth_service_password=PASSWORD, guard_password=PASSWORD, admin_password=PASSWORD
        )
    )
    command = arguments(port=port, folder=tmp_path, acl_file=acl_file)
    process = Process(Command("redis", command, lambda: readiness.redis(port), port), tmp_path / "log", tmp_path)
    process.start()
    process.wait_ready()
    yield process
    process.stop()


def client(server: Process, user: str) -> "Redis":
    return Redis(port=server.command.port, username=user, password=PASSWORD, decode_responses=True)


def test_it_has_the_options_of_compose() -> None:
    compose = (ROOT / "compose.yaml").read_text()
    options = {name: value.strip('"') for name, value in re.findall(r"^ +- (--\S+) (.*)$", compose, re.MULTILINE)}
    paths = {name: options.pop(name) for name in ("--aclfile", "--dir")}
    assert paths == {"--aclfile": "/run/secrets/redis/users.acl", "--dir": "/data"}
    assert options == OPTIONS


def test_only_the_local_stack_has_an_admin() -> None:
    local = users_acl(
        gateway_password="a", auth_service_password="b", guard_password="d", admin_password="c"
    ).splitlines()
    compose = users_acl(gateway_password="a", auth_service_password="b", guard_password="d").splitlines()
    assert local[:-1] == compose
    assert [line.split()[1] for line in local] == ["default", "health", "guard", "gateway", "auth-service", ADMIN_USER]


def test_a_client_without_a_password_is_refused(server: Process) -> None:
    with Redis(port=server.command.port, protocol=2, retry=Retry(NoBackoff(), 0)) as anonymous:
        for command in ("PING", "GET parley:x", "CONFIG GET *"):
            with pytest.raises(AuthenticationError, match="Authentication required"):
                anonymous.execute_command(*command.split())
        for credentials in (("default", ""), ("default", PASSWORD), ("default", "nopass")):
            with pytest.raises(AuthenticationError, match="user is disabled"):
                anonymous.execute_command("AUTH", *credentials)


def test_the_health_check_may_only_ping(server: Process) -> None:
    with client(server, "health") as redis:
        assert redis.ping()
        with pytest.raises(NoPermissionError):
            redis.get("parley:x")


@pytest.mark.parametrize("end", [Process.kill, Process.stop])
def test_a_transaction_survives_a_restart(server: Process, end: Callable[[Process], None]) -> None:
    with client(server, "gateway") as redis, redis.pipeline(transaction=True) as transaction:
        transaction.hset("parley:x", "title", "a lighthouse")
        transaction.zadd("parley:y", {"first": 1})
        transaction.execute()
    end(server)
    server.start()
    server.wait_ready()
    with client(server, "gateway") as redis:
        assert redis.hgetall("parley:x") == {"title": "a lighthouse"}
        assert redis.zrange("parley:y", 0, -1) == ["first"]
    assert "NOPERM" not in server.log.read_text()
