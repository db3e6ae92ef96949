"""Tests of auth_service.app and auth_service.__main__, as server processes."""

import asyncio
import json
import signal
from dataclasses import replace

import httpx2
import pytest

from auth_service.accounts import Account, Role
from auth_service.hashing import Argon2id
from auth_service.store.migration import open_database
from auth_service.store.stores import Stores
from auth_service.tokens import new_credential
from tests.auth_service.conftest import CREDENTIAL, sqlite_only
from tests.auth_service.processes import command, serving, serving_all

Environment = dict[str, str]
PASSWORD = "canary-password-of-alice"


async def add_alice(environment: Environment) -> None:
    async with open_database(environment["AUTH_DATABASE_URL"]) as database:
        password_hash = Argon2id().hash(PASSWORD)
        alice = Account("user_" + "a" * 32, "alice", password_hash, Role.USER, disabled=False, created_at=0)
        await Stores.from_database(database).accounts.add(replace(alice, password_credential=new_credential()))


async def login(http: httpx2.AsyncClient) -> httpx2.Response:
    return await http.post("/auth/login", json={"username": "alice", "password": PASSWORD})


async def introspect(http: httpx2.AsyncClient, **form: str) -> dict[str, object]:
    response = await http.post("/introspect", data=form, headers={"Authorization": f"Bearer {CREDENTIAL}"})
    answer: dict[str, object] = response.json()
    return answer


async def test_users_and_keys_added_while_the_server_runs_work_immediately(environment: Environment) -> None:
    async with serving(environment) as server, server.http() as http:
        assert (await command(environment, "user", "add", "alice", stdin=PASSWORD)).status == 0
        key = (await command(environment, "key", "add", "alice")).out.strip()
        assert (await login(http)).status_code == 200
        assert (await http.get("/auth/me")).json()["username"] == "alice"
        assert (await introspect(http, token=key))["token_type"] == "api_key"
        assert (await introspect(http, token=PASSWORD, username="alice"))["token_type"] == "password"
        assert await introspect(http, token=PASSWORD) == {"active": False}


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
async def test_sessions_outlive_the_server_that_opened_them(environment: Environment, by: signal.Signals) -> None:
    await add_alice(environment)
    async with serving(environment) as server, server.http() as http:
        token = (await login(http)).cookies["parley_session"]
        await server.stop(by)
    async with serving(environment) as server, server.http() as http:
        me = await http.get("/auth/me", headers={"Cookie": f"parley_session={token}"})
        assert me.json()["username"] == "alice"


async def test_two_servers_share_one_database(environment: Environment) -> None:
    await add_alice(environment)
    async with serving_all(environment, environment) as [one, two], one.http() as here, two.http() as there:
        cookies = {"Cookie": f"parley_session={(await login(here)).cookies['parley_session']}"}
        assert (await there.get("/auth/me", headers=cookies)).status_code == 200
        assert (await there.post("/auth/logout", headers=cookies)).status_code == 204
        assert (await here.get("/auth/me", headers=cookies)).status_code == 401


async def test_a_ticket_redeemed_at_two_servers_concurrently_is_active_once(environment: Environment) -> None:
    await add_alice(environment)
    async with serving_all(environment, environment) as [one, two], one.http() as here, two.http() as there:
        await login(here)
        for _ in range(5):
            ticket = (await here.post("/auth/tickets")).json()["ticket"]
            answers = await asyncio.gather(*(introspect(http, token=ticket) for http in (here, there) * 4))
            assert sum(bool(answer["active"]) for answer in answers) == 1


@sqlite_only
async def test_a_terminated_server_completes_its_requests_and_exits_with_0(environment: Environment) -> None:
    await add_alice(environment)
    async with serving(environment) as server, server.http() as http:
        # A first request on the connection ensures that the server has accepted it before it is terminated.
        await http.get("/healthz")
        answers = [asyncio.create_task(login(http)) for _ in range(4)]
        await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
        assert await server.stop() == 0
        begun = await asyncio.gather(*answers, return_exceptions=True)
    assert any(isinstance(answer, httpx2.Response) and answer.status_code == 200 for answer in begun)
    assert all(not isinstance(answer, httpx2.Response) or answer.status_code == 200 for answer in begun)
    assert "Traceback" not in server.log


@sqlite_only
async def test_the_log_contains_no_secret(environment: Environment) -> None:
    await add_alice(environment)
    async with serving(environment) as server, server.http() as http:
        token = (await login(http)).cookies["parley_session"]
        key = (await command(environment, "key", "add", "alice")).out.strip()
        await http.post("/auth/login?secret=canary-query", json={"username": "canary-name", "password": "canary-wrong"})
        await http.post("/auth/login", content=b"canary-body", headers={"Content-Type": "application/json"})
        await http.post("/auth/login", json={"username": "a", "password": ["canary"], "canary-field": 1})
        await http.get("/auth/me", headers={"Cookie": "parley_session=ps_canary"})
        await http.get("/canary-path?token=canary-query")
        await introspect(http, token=key)
        await introspect(http, token=PASSWORD, username="alice")
        await http.post("/introspect", data={"token": "canary"}, headers={"Authorization": "Bearer canary-credential"})
        assert await server.stop() == 0
    messages = [event["message"] for event in server.events()]
    assert "session opened" in messages
    assert "login refused" in messages
    for secret in ["canary", token, key, CREDENTIAL, "$argon2id"]:
        assert secret not in server.log


MALFORMED = [
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST /auth/logout HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /auth/..%2fintrospect HTTP/1.1\r\nHost: a\r\n\r\n",
]


@sqlite_only
async def test_a_malformed_request_is_answered_and_the_next_one_succeeds(environment: Environment) -> None:
    async with serving(environment) as server, server.http() as http:
        for request in MALFORMED:
            reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(server.url).port)
            writer.write(request)
            assert (await reader.readline()).split()[1] in {b"400", b"404"}, request
            writer.close()
            assert (await http.get("/healthz")).status_code == 200
    assert "Traceback" not in server.log


@sqlite_only
async def test_the_throttled_address_is_the_one_from_a_trusted_proxy(environment: Environment) -> None:
    await add_alice(environment)
    wrong = {"username": "alice", "password": "wrong horse"}

    async def statuses(http: httpx2.AsyncClient, forwarded_for: str) -> list[int]:
        headers = {"X-Forwarded-For": forwarded_for}
        return [(await http.post("/auth/login", json=wrong, headers=headers)).status_code for _ in range(6)]

    other_proxy = environment | {"AUTH_TRUSTED_PROXIES": "192.0.2.1"}
    async with serving_all(environment, other_proxy) as [one, two], one.http() as trusting, two.http() as distrusting:
        assert await statuses(trusting, "198.51.100.7") == [401] * 5 + [429]
        assert await statuses(trusting, "198.51.100.8") == [401] * 5 + [429]
        assert await statuses(distrusting, "198.51.100.7") == [401] * 5 + [429]
        assert await statuses(distrusting, "198.51.100.8") == [429] * 6


@sqlite_only
async def test_the_log_is_one_json_object_per_line(environment: Environment) -> None:
    async with serving(environment) as server:
        await server.stop()
    assert len(server.lines) > 3
    for line in server.lines:
        assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
