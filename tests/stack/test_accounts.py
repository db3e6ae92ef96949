"""Accounts through nginx, with the gateways behind it."""

import asyncio
import json
import sqlite3
import time
import unicodedata
from contextlib import closing
from urllib.parse import urlencode

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.stack.conftest import PASSWORD, Deployment, ask, client_from


@pytest.fixture
def url(deployment: Deployment) -> str:
    return f"http://127.0.0.1:{deployment.stack.port}"


async def login(http: httpx2.AsyncClient, name: str, password: str) -> httpx2.Response:
    return await http.post("/auth/login", json={"username": name, "password": password})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/introspect"),
        ("POST", "/revoke"),
        ("GET", "/deletions"),
        ("POST", "/auth/../introspect"),
        ("POST", "/auth/..%2fintrospect"),
        ("POST", "/auth/%2e%2e/introspect"),
        ("GET", "/readyz"),
    ],
)
async def test_internal_endpoints_are_not_reachable(url: str, deployment: Deployment, method: str, path: str) -> None:
    credential = (deployment.stack.plan.directory / "secrets/introspection_credential").read_text()
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {credential}"}) as http:
        answer = await http.request(method, path, content=b"token=x" if method == "POST" else None)
    # The page's answer to an unknown path, or an error.
    assert answer.status_code in {200, 400, 404, 405}
    assert '"active"' not in answer.text
    assert not answer.text.startswith(('{"object"', '{"status"'))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"username": "alice", "password": "x" * 129}, 400),
        ({"username": "alice", "password": "x" * 1_000_000}, 413),
        ({"username": "alice", "password": "x" * 12_000}, 413),
        ({"username": "alice", "password": ""}, 401),
        ({"username": "alice", "password": f"{PASSWORD}\x00"}, 401),
        ({"username": "alice", "password": "\ud800"}, 400),
        ({"username": "\u0430lice", "password": PASSWORD}, 401),
        ({"username": "ALICE", "password": PASSWORD}, 200),
        ({"username": "alice", "password": PASSWORD, "role": "admin"}, 400),
        (["alice", PASSWORD], 400),
    ],
    ids=lambda value: ascii(value)[:40],
)
async def test_an_invalid_log_in_is_refused_and_the_next_valid_one_works(url: str, body: object, status: int) -> None:
    async with client_from(url, "127.0.2.1") as http:
        content, headers = json.dumps(body), {"Content-Type": "application/json"}
        assert (await http.post("/auth/login", content=content, headers=headers)).status_code == status
        http.cookies.clear()
        assert (await login(http, "carol", PASSWORD)).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.test", "null"])
async def test_a_request_from_another_origin_changes_nothing(url: str, origin: str) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
        await login(http, "carol", PASSWORD)
        for path in ["/auth/logout", "/auth/tickets", "/auth/keys", "/auth/password"]:
            answer = await http.post(path, json={}, headers={"Origin": origin})
            assert answer.status_code == 403
        assert (await http.get("/auth/me")).status_code == 200


@pytest.mark.parametrize("token", ["x" * 100_000, "pk_" + "a" * 43, "ek_" + "a" * 43])
async def test_a_forged_or_huge_credential_is_refused(url: str, token: str) -> None:
    async with httpx2.AsyncClient(base_url=url) as http:
        headers = {"Authorization": f"Bearer {token}"}
        for path in ["/auth/admin/users", "/v1/conversations"]:
            assert (await http.get(path, headers=headers)).status_code in {400, 401}


async def test_a_truncated_key_and_a_whole_key_in_the_url_are_refused(url: str, deployment: Deployment) -> None:
    async with httpx2.AsyncClient(base_url=url) as http:
        headers = {"Authorization": f"Bearer {deployment.alice[:-1]}"}
        assert (await http.get("/v1/conversations", headers=headers)).status_code == 401
        query = {"api_key": deployment.alice, "token": deployment.alice, "authorization": f"Bearer {deployment.alice}"}
        for path in ["/v1/conversations", "/auth/me", "/auth/admin/users"]:
            assert (await http.get(path, params=query)).status_code == 401


@pytest.mark.parametrize(("header", "query", "status"), [(1, 1, 101), (1, 0, 101), (0, 1, 401), (None, 1, 401)])
async def test_on_v1_only_the_header_is_read_not_the_url(
    deployment: Deployment, header: int | None, query: int, status: int
) -> None:
    keys = "pk_" + "a" * 43, deployment.bob
    headers = {} if header is None else {"Authorization": f"Bearer {keys[header]}"}
    address = f"{deployment.socket_url}/v1/responses?{urlencode({'userid': 'bob', 'secret': keys[query]})}"
    try:
        async with connect(address, additional_headers=headers):
            found = 101
    except InvalidStatus as exc:
        found = exc.response.status_code
    assert found == status


@pytest.mark.parametrize(
    ("header", "query", "answer"), [(1, 1, "!"), (0, 1, "!"), (1, 0, "authentication failed"), (1, None, "")]
)
async def test_on_ws_only_the_url_is_read_not_the_header(
    deployment: Deployment, header: int, query: int | None, answer: str
) -> None:
    keys = "pk_" + "a" * 43, deployment.bob
    secret = {} if query is None else {"secret": keys[query]}
    address = f"{deployment.socket_url}/ws?{urlencode({'userid': 'bob'} | secret)}"
    async with connect(address, additional_headers={"Authorization": f"Bearer {keys[header]}"}) as socket:
        if query is None:
            await socket.wait_closed()
            assert socket.close_code == 1008
            return
        await socket.send("[[text=!]]")
        assert await next_message(socket) == answer


async def next_message(socket: ClientConnection) -> str:
    """The next message of the model or the gateway, without announcements of departures."""
    while (text := str(await socket.recv())).startswith("Client #"):
        pass
    return text


async def test_an_expired_key_is_refused(url: str, deployment: Deployment) -> None:
    cookie, soon = deployment.log_in("carol", PASSWORD), int(time.time()) + 2
    async with httpx2.AsyncClient(base_url=url) as http:
        made = await http.post("/auth/keys", json={"name": "x", "expires_at": soon}, headers={"Cookie": cookie})
        headers = {"Authorization": f"Bearer {made.json()['key']}"}
        assert (await http.get("/v1/conversations", headers=headers)).status_code == 200
        while time.time() < soon + 1:
            await asyncio.sleep(0.1)
        assert (await http.post("/auth/tickets", headers=headers)).status_code == 401
        async with asyncio.timeout(20):
            while (await http.get("/v1/conversations", headers=headers)).status_code != 401:
                await asyncio.sleep(0.1)


async def test_an_expired_session_is_refused_also_on_its_open_socket(url: str, deployment: Deployment) -> None:
    cookie = deployment.log_in("carol", PASSWORD)
    headers = {"Cookie": cookie, "Origin": url}
    async with (
        httpx2.AsyncClient(base_url=url, headers=headers) as http,
        connect(f"{deployment.socket_url}/v1/responses", additional_headers=headers) as socket,
    ):
        sessions = (await http.get("/auth/sessions")).json()["data"]
        expire(deployment, next(one["id"] for one in sessions if one["current"]))
        assert (await http.get("/auth/me")).status_code == 401
        async with asyncio.timeout(20):
            while (await http.get("/v1/conversations")).status_code != 401:
                await asyncio.sleep(0.1)
            while (last := (await ask(socket, "hello"))[-1])["type"] == "response.completed":
                await asyncio.sleep(0.1)
            assert last["status"] == 401
            await socket.wait_closed()
        assert socket.close_code == 1008


def expire(deployment: Deployment, session_id: str) -> None:
    """The shortest configurable lifetime is a minute."""
    with closing(sqlite3.connect(deployment.stack.plan.directory / "auth.db")) as database, database:
        assert database.execute("UPDATE sessions SET expires_at = 1 WHERE id = ?", (session_id,)).rowcount == 1


@pytest.mark.parametrize(
    ("password", "status"),
    [("\u00e9" * 7, 400), ("\u00e9" * 8, 200), ("\u00e9" * 128, 200), ("\u00e9" * 129, 400)],
    ids=["7", "8", "128", "129"],
)
async def test_equivalent_unicode_forms_of_a_password_are_equal(
    url: str, deployment: Deployment, password: str, status: int
) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
        # The first user is the administrator.
        await login(http, "alice", PASSWORD)
        name, decomposed = f"user-{len(password)}", unicodedata.normalize("NFD", password)
        made = await http.post("/auth/admin/users", json={"username": name, "password": decomposed})
        assert made.status_code == status
        http.cookies.clear()
        assert ((await login(http, name, password)).status_code == 200) == (status == 200)
