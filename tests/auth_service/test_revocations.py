"""Tests of auth_service.revocations, with a real Redis."""

import json
import logging
import signal
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.client import PubSub
from redis.exceptions import NoPermissionError

from auth_service.administration import AccountChange
from auth_service.audit import COMMAND_LINE
from auth_service.settings import Settings
from auth_service.tokens import digest
from tests.auth_service import redis
from tests.auth_service.conftest import GATEWAY, PASSWORD, Service, running, sqlite_only
from tests.auth_service.fakes import CountingHasher
from tests.auth_service.processes import command
from tests.auth_service.redis import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis.running(tmp_path) as server:
        yield server


@pytest.fixture
def gateway(server: RedisServer) -> Iterator[PubSub]:
    """A subscriber with the gateway's Redis user."""
    with server.client("gateway") as client, client.pubsub() as pubsub:
        pubsub.subscribe("parley:revocations")
        assert (pubsub.get_message(timeout=10) or {})["type"] == "subscribe"
        yield pubsub


def next_revocation(gateway: PubSub) -> dict[str, Any]:
    message = gateway.get_message(timeout=10)
    assert message is not None
    revocation: dict[str, Any] = json.loads(message["data"])
    return revocation


@asynccontextmanager
async def running_with_redis(
    settings: Settings, hasher: CountingHasher, server: RedisServer
) -> AsyncGenerator[Service]:
    redis_settings = {
        "redis_url": server.url,
        "redis_user": "auth-service",
        "redis_password": SecretStr(redis.PASSWORD),
    }
    async with running(settings.model_copy(update=redis_settings), hasher) as service:
        yield service


@sqlite_only
async def test_every_revocation_is_announced_with_its_user_credential_and_reason(
    settings: Settings, hasher: CountingHasher, server: RedisServer, gateway: PubSub
) -> None:
    async with running_with_redis(settings, hasher, server) as service:
        alice = (await service.add_user()).id
        await service.add_user("bob")
        session, key = await service.log_in_elsewhere(), await service.create_key()
        password = (await service.introspect(token=PASSWORD, username="alice")).json()["credential"]

        await service.http.post("/revoke", data={"token": session}, headers=GATEWAY)
        assert next_revocation(gateway) == {"sub": alice, "credential": digest(session), "reason": "session"}

        await service.http.post("/revoke", data={"token": key}, headers=GATEWAY)
        assert next_revocation(gateway) == {"sub": alice, "credential": digest(key), "reason": "key"}

        token = (await service.login()).cookies["parley_session"]
        await service.http.post("/auth/logout")
        assert next_revocation(gateway) == {"sub": alice, "credential": digest(token), "reason": "session"}

        other = await service.log_in_elsewhere()
        await service.login()
        body = {"current_password": PASSWORD, "new_password": "another horse"}
        await service.http.post("/auth/password", json=body)
        assert next_revocation(gateway) == {"sub": alice, "credential": digest(other), "reason": "session"}
        assert next_revocation(gateway) == {"sub": alice, "credential": password, "reason": "password"}

        administration = service.state["administration"]
        await administration.change(alice, AccountChange(disabled=True), COMMAND_LINE)
        assert next_revocation(gateway) == {"sub": alice, "credential": None, "reason": "user"}

        await administration.delete(await administration.get_by_name("alice"), COMMAND_LINE)
        assert next_revocation(gateway) == {"sub": alice, "credential": None, "reason": "deleted"}


@sqlite_only
async def test_commands_announce_revocations_as_well(
    environment: dict[str, str], server: RedisServer, gateway: PubSub
) -> None:
    there = {"AUTH_REDIS_URL": server.url, "AUTH_REDIS_USER": "auth-service", "AUTH_REDIS_PASSWORD": redis.PASSWORD}
    await command(environment, "user", "add", "root", stdin=PASSWORD)
    await command(environment, "user", "add", "alice", stdin=PASSWORD)
    disabled = await command(environment | there, "user", "disable", "alice")
    assert disabled.status == 0, disabled.err
    assert next_revocation(gateway)["reason"] == "user"
    assert disabled.err == ""


@sqlite_only
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_log_out_succeeds_without_redis(
    settings: Settings,
    hasher: CountingHasher,
    server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    async with running_with_redis(settings, hasher, server) as service:
        await service.add_user()
        token = await service.log_in_elsewhere()
        await service.http.post("/revoke", data={"token": token}, headers=GATEWAY)
        if fault == "frozen":
            server.process.send_signal(signal.SIGSTOP)
        else:
            server.process.kill()
            server.process.wait()
        token = (await service.login()).cookies["parley_session"]
        with caplog.at_level(logging.WARNING):
            assert (await service.http.post("/auth/logout")).status_code == 204
        assert not (await service.introspect(token=token)).json()["active"]
        [warning] = [record for record in caplog.records if record.name == "auth_service.revocations"]
        assert warning.getMessage() == "revocation not announced"


async def test_the_redis_user_of_the_auth_service_may_only_publish_on_its_channel(server: RedisServer) -> None:
    forbidden: list[tuple[str, ...]] = [
        ("PUBLISH", "parley:others", "x"),
        ("GET", "parley:x"),
        ("SET", "parley:x", "x"),
        ("SUBSCRIBE", "parley:revocations"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("KEYS", "*"),
        ("EVAL", "return 1", "0"),
    ]
    with server.client("auth-service") as client:
        assert client.publish("parley:revocations", "x") == 0
        for words in forbidden:
            with pytest.raises(NoPermissionError):
                client.execute_command(*words)
