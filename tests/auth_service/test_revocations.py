"""What is announced, and that nothing depends on anybody hearing it."""

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

from auth_service.administration import Change
from auth_service.audit import COMMAND_LINE
from auth_service.settings import Settings
from auth_service.tokens import digest
from tests.auth_service import redis
from tests.auth_service.conftest import GATEWAY, PASSWORD, Parley, on_sqlite, running
from tests.auth_service.fakes import CountingHasher
from tests.auth_service.processes import command
from tests.auth_service.redis import RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis.running(tmp_path) as server:
        yield server


@pytest.fixture
def gateway(server: RedisServer) -> Iterator[PubSub]:
    """Listens as the gateway's own user of Redis."""
    with server.client("gateway") as client, client.pubsub() as listener:
        listener.subscribe("parley:revocations")
        assert (listener.get_message(timeout=10) or {})["type"] == "subscribe"
        yield listener


def heard(gateway: PubSub) -> dict[str, Any]:
    message = gateway.get_message(timeout=10)
    assert message is not None
    found: dict[str, Any] = json.loads(message["data"])
    return found


@asynccontextmanager
async def announcing(settings: Settings, hasher: CountingHasher, server: RedisServer) -> AsyncGenerator[Parley]:
    redis_settings = {
        "redis_url": server.url,
        "redis_user": "auth-service",
        "redis_password": SecretStr(redis.PASSWORD),
    }
    async with running(settings.model_copy(update=redis_settings), hasher) as parley:
        yield parley


@on_sqlite
async def test_every_way_to_end_a_credential_is_announced_with_whose_and_which_it_was(
    settings: Settings, hasher: CountingHasher, server: RedisServer, gateway: PubSub
) -> None:
    async with announcing(settings, hasher, server) as parley:
        alice = (await parley.user()).id
        await parley.user("bob")
        session, key = await parley.session(), await parley.key()
        password = (await parley.introspect(token=PASSWORD, username="alice")).json()["credential"]

        await parley.http.post("/revoke", data={"token": session}, headers=GATEWAY)
        assert heard(gateway) == {"sub": alice, "credential": digest(session), "reason": "session"}

        await parley.http.post("/revoke", data={"token": key}, headers=GATEWAY)
        assert heard(gateway) == {"sub": alice, "credential": digest(key), "reason": "key"}

        token = (await parley.login()).cookies["parley_session"]
        await parley.http.post("/auth/logout")
        assert heard(gateway) == {"sub": alice, "credential": digest(token), "reason": "session"}

        other = await parley.session()
        await parley.login()
        body = {"current_password": PASSWORD, "new_password": "another horse"}
        await parley.http.post("/auth/password", json=body)
        assert heard(gateway) == {"sub": alice, "credential": digest(other), "reason": "session"}
        assert heard(gateway) == {"sub": alice, "credential": password, "reason": "password"}

        administration = parley.state["administration"]
        await administration.change(alice, Change(disabled=True), COMMAND_LINE)
        assert heard(gateway) == {"sub": alice, "credential": None, "reason": "user"}

        await administration.delete(await administration.named("alice"), COMMAND_LINE)
        assert heard(gateway) == {"sub": alice, "credential": None, "reason": "deleted"}


@on_sqlite
async def test_the_command_line_announces_as_well(
    environment: dict[str, str], server: RedisServer, gateway: PubSub
) -> None:
    there = {"AUTH_REDIS_URL": server.url, "AUTH_REDIS_USER": "auth-service", "AUTH_REDIS_PASSWORD": redis.PASSWORD}
    await command(environment, "user", "add", "root", stdin=PASSWORD)
    await command(environment, "user", "add", "alice", stdin=PASSWORD)
    disabled = await command(environment | there, "user", "disable", "alice")
    assert disabled.status == 0, disabled.err
    assert heard(gateway)["reason"] == "user"
    assert disabled.err == ""


@on_sqlite
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_a_redis_that_is_away_makes_no_log_out_fail(
    settings: Settings,
    hasher: CountingHasher,
    server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    fault: str,
) -> None:
    async with announcing(settings, hasher, server) as parley:
        await parley.user()
        token = await parley.session()
        await parley.http.post("/revoke", data={"token": token}, headers=GATEWAY)
        if fault == "frozen":
            server.process.send_signal(signal.SIGSTOP)
        else:
            server.process.kill()
            server.process.wait()
        token = (await parley.login()).cookies["parley_session"]
        with caplog.at_level(logging.WARNING):
            assert (await parley.http.post("/auth/logout")).status_code == 204
        assert not (await parley.introspect(token=token)).json()["active"]
        [warning] = [record for record in caplog.records if record.name == "auth_service.revocations"]
        assert warning.getMessage() == "revocation not announced"


async def test_in_redis_the_auth_service_can_only_speak_on_its_one_channel(server: RedisServer) -> None:
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
