"""What the auth-service does when something around it fails: it refuses before it changes anything, and comes back."""

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
from tests.auth_service.conftest import GATEWAY, PASSWORD, on_sqlite
from tests.auth_service.processes import command, serving

Environment = dict[str, str]


async def login(http: httpx2.AsyncClient, name: str = "alice", address: str = "192.0.2.1") -> httpx2.Response:
    headers, body = {"X-Forwarded-For": address}, {"username": name, "password": PASSWORD}
    return await http.post("/auth/login", json=body, headers=headers)


async def is_active(http: httpx2.AsyncClient, token: str) -> bool:
    answer = await http.post("/introspect", data={"token": token}, headers=GATEWAY)
    return answer.status_code == 200 and bool(answer.json()["active"])


@on_sqlite
async def test_a_storm_of_log_ins_is_bounded_locks_nobody_out_and_leaves_the_chats_of_others_alone(
    environment: Environment,
) -> None:
    for name in ["alice", "bob"]:
        await command(environment, "user", "add", name, stdin=PASSWORD)
    async with serving(environment) as server, server.http() as http:
        http.timeout = httpx2.Timeout(120)
        token = (await login(http, name="bob")).cookies["parley_session"]
        http.cookies.clear()
        storm = [asyncio.create_task(login(http, address=f"198.51.100.{number}")) for number in range(200)]
        checks = 0
        while not all(one.done() for one in storm):
            assert await is_active(http, token)
            checks += 1
        answers = [one.result() for one in storm]
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = [answer for answer in answers if answer.status_code == 429]
        # Most of them: the line holds eight for each core.
        assert len(refused) > len(answers) / 4
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert {answer.json()["error"]["code"] for answer in refused} == {"busy"}
        assert checks > 1
        assert (await login(http, address="198.51.100.7")).status_code == 200
    assert "Traceback" not in server.log


async def test_what_was_acknowledged_before_a_kill_is_there_after_it(environment: Environment) -> None:
    await command(environment, "user", "add", "alice", stdin=PASSWORD)
    made: list[str] = []

    async def make_keys(http: httpx2.AsyncClient) -> None:
        while True:
            made.append((await http.post("/auth/keys", json={"name": "laptop"})).json()["key"])

    async with serving(environment) as server, server.http() as http:
        session = (await login(http)).cookies["parley_session"]
        making = [asyncio.create_task(make_keys(http)) for _ in range(4)]
        while len(made) < 20:
            await asyncio.sleep(0.01)
        await server.stop(signal.SIGKILL)
        for one in making:
            one.cancel()
            with suppress(asyncio.CancelledError, httpx2.HTTPError):
                await one
    async with serving(environment) as server, server.http() as http:
        assert await is_active(http, session)
        assert all([await is_active(http, key) for key in made])
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


@on_sqlite
async def test_a_full_disk_refuses_what_would_change_something_and_nothing_else(
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
        # Who is logged in goes on, with the password as it was.
        assert await is_active(http, token)
        (small_disk / "ballast").unlink()
        http.cookies.clear()
        assert (await login(http)).status_code == 200
        assert await is_active(http, token)
    assert "Traceback" not in server.log


@on_sqlite
async def test_a_postgresql_that_goes_away_is_answered_503_and_missed_no_longer_when_it_is_back(
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
            there.cut_off()
            assert await is_active(http, token)
            assert (await login(http)).status_code == 200
    assert "Traceback" not in server.log
    assert digest(token) not in server.log


def fill(file: Path) -> None:
    with file.open("wb") as ballast, suppress(OSError):
        while True:
            os.write(ballast.fileno(), b"\0" * 4096)
