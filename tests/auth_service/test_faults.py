"""Tests of auth_service.app and store.database, as a process whose environment fails."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from auth_service.tokens import digest
from tests.auth_service import postgresql
from tests.auth_service.conftest import GATEWAY, PASSWORD, sqlite_only
from tests.auth_service.processes import command, serving

Environment = dict[str, str]


async def login(http: httpx2.AsyncClient, name: str = "alice", address: str = "192.0.2.1") -> httpx2.Response:
    headers, body = {"X-Forwarded-For": address}, {"username": name, "password": PASSWORD}
    return await http.post("/auth/login", json=body, headers=headers)


async def is_active(http: httpx2.AsyncClient, token: str) -> bool:
    answer = await http.post("/introspect", data={"token": token}, headers=GATEWAY)
    return answer.status_code == 200 and bool(answer.json()["active"])


@sqlite_only
async def test_a_flood_of_log_ins_is_bounded_and_delays_no_introspection(
    environment: Environment,
) -> None:
    for name in ["alice", "bob"]:
        await command(environment, "user", "add", name, stdin=PASSWORD)
    async with serving(environment) as server, server.http() as http:
        http.timeout = httpx2.Timeout(120)
        token = (await login(http, name="bob")).cookies["parley_session"]
        http.cookies.clear()
        flood = [asyncio.create_task(login(http, address=f"198.51.100.{number}")) for number in range(200)]
        checks = 0
        while not all(task.done() for task in flood):
            assert await is_active(http, token)
            checks += 1
        answers = [task.result() for task in flood]
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = [answer for answer in answers if answer.status_code == 429]
        # The majority: the queue holds eight requests per core.
        assert len(refused) > len(answers) / 4
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert {answer.json()["error"]["code"] for answer in refused} == {"busy"}
        assert checks > 1
        assert (await login(http, address="198.51.100.7")).status_code == 200
    assert "Traceback" not in server.log


async def test_acknowledged_changes_survive_a_kill(environment: Environment) -> None:
    await command(environment, "user", "add", "alice", stdin=PASSWORD)
    created: list[str] = []

    async def create_keys(http: httpx2.AsyncClient) -> None:
        while True:
            created.append((await http.post("/auth/keys", json={"name": "laptop"})).json()["key"])

    async with serving(environment) as server, server.http() as http:
        session = (await login(http)).cookies["parley_session"]
        tasks = [asyncio.create_task(create_keys(http)) for _ in range(4)]
        while len(created) < 20:
            await asyncio.sleep(0.01)
        await server.stop(signal.SIGKILL)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError, httpx2.HTTPError):
                await task
    async with serving(environment) as server, server.http() as http:
        assert await is_active(http, session)
        assert all([await is_active(http, key) for key in created])
        assert (await login(http)).status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@sqlite_only
async def test_a_full_disk_rejects_changes_and_keeps_sessions_active(
    environment: Environment, small_disk: Path
) -> None:
    environment |= {"AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{small_disk}/auth.db"}
    await command(environment, "user", "add", "alice", stdin=PASSWORD)
    async with serving(environment) as server, server.http() as http:
        token = (await login(http)).cookies["parley_session"]
        fill(small_disk / "ballast")
        refusals = {}
        for name, path, body in [
            ("login", "/auth/login", {"username": "alice", "password": PASSWORD}),
            ("key", "/auth/keys", {"name": "laptop"}),
            ("password", "/auth/password", {"current_password": PASSWORD, "new_password": "another horse"}),
            ("logout", "/auth/logout", None),
        ]:
            refusals[name] = await http.post(path, json=body, headers={"Cookie": f"parley_session={token}"})
        assert {name: one.status_code for name, one in refusals.items()} == dict.fromkeys(refusals, 503)
        assert {one.json()["error"]["code"] for one in refusals.values()} == {"database_unavailable"}
        assert all("set-cookie" not in one.headers for one in refusals.values())
        # Existing sessions and the old password remain valid.
        assert await is_active(http, token)
        (small_disk / "ballast").unlink()
        http.cookies.clear()
        assert (await login(http)).status_code == 200
        assert await is_active(http, token)
    assert "Traceback" not in server.log


@sqlite_only
async def test_an_unresponsive_postgresql_is_answered_503_until_it_recovers(
    environment: Environment,
) -> None:
    with postgresql.running() as there:
        environment |= {"AUTH_DATABASE_URL": there.url("postgres")}
        await command(environment, "user", "add", "alice", stdin=PASSWORD)
        async with serving(environment) as server, server.http() as http:
            http.timeout = httpx2.Timeout(30)
            token = (await login(http)).cookies["parley_session"]
            with there.frozen():
                assert (await login(http)).status_code == 503
                assert not await is_active(http, token)
                assert (await http.get("/readyz")).json() == {"status": "unavailable", "missing": ["database"]}
                assert (await http.get("/healthz")).status_code == 200
            there.disconnect_clients()
            assert await is_active(http, token)
            assert (await login(http)).status_code == 200
    assert "Traceback" not in server.log
    assert digest(token) not in server.log


def fill(file: Path) -> None:
    with file.open("wb") as ballast, suppress(OSError):
        while True:
            os.write(ballast.fileno(), b"\0" * 4096)
