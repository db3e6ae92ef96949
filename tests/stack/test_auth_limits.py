"""Floods, storms and guesses against the accounts: each is limited, and other users can still log in."""

import asyncio
import json
import zlib

import httpx2
import pytest

from tests.stack.conftest import PASSWORD, Deployment, ask, client_from, receive_all, text_of


@pytest.fixture
def url(deployment: Deployment) -> str:
    return f"http://127.0.0.1:{deployment.stack.port}"


async def login(http: httpx2.AsyncClient, name: str, password: str) -> httpx2.Response:
    return await http.post("/auth/login", json={"username": name, "password": password})


async def test_after_a_hundred_wrong_guesses_the_owner_can_log_in_from_another_address(url: str) -> None:
    async with client_from(url, "127.0.0.3") as guesser, client_from(url, "127.0.0.4") as owner:
        guesses = [(await login(guesser, "bob", f"wrong horse {number}")) for number in range(100)]
        assert {one.status_code for one in guesses} == {401, 429}
        assert all(int(one.headers["retry-after"]) >= 1 for one in guesses if one.status_code == 429)
        claimed = {"X-Forwarded-For": "127.0.0.4"}
        body = {"username": "bob", "password": PASSWORD}
        assert (await guesser.post("/auth/login", json=body, headers=claimed)).status_code == 429
        assert (await login(owner, "bob", PASSWORD)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "limited"),
    [
        ("POST", "/auth/login", True),
        ("POST", "/auth/register", True),
        ("POST", "/auth/password", True),
        ("POST", "/auth/reset", True),
        ("POST", "/auth/admin/users", True),
        ("DELETE", "/auth/me", True),
        ("GET", "/auth/openid/login", True),
        ("GET", "/auth/openid/callback", True),
        ("GET", "/auth/me", False),
        ("GET", "/auth/options", False),
    ],
)
async def test_a_flood_of_expensive_requests_does_not_reach_the_service(
    url: str, method: str, path: str, limited: bool
) -> None:
    # Its own source address, so that no other test is limited by it.
    address = f"127.0.1.{1 + zlib.crc32(f'{method} {path}'.encode()) % 250}"
    async with client_from(url, address) as http:
        answers = await asyncio.gather(*(http.request(method, path, json={}) for _ in range(250)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert bool(refused) == limited
    assert {answer.json()["error"]["code"] for answer in refused} == ({"rate_limit_exceeded"} if limited else set())
    assert {answer.headers["retry-after"] for answer in refused} == ({"1"} if limited else set())


async def test_a_flood_of_cheap_requests_is_limited_too(url: str) -> None:
    async with client_from(url, "127.0.1.251") as http:
        answers = await asyncio.gather(*(http.get("/auth/options") for _ in range(1000)))
    assert {answer.status_code for answer in answers} == {200, 429}
    assert {one.json()["error"]["code"] for one in answers if one.status_code == 429} == {"rate_limit_exceeded"}


async def test_a_storm_of_log_ins_is_limited_and_a_concurrent_stream_is_complete(
    url: str, deployment: Deployment
) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=120) as http, deployment.socket(deployment.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "input": "[[tokens=100 pace=0.05]]"}))
        seen = [json.loads(await socket.recv())]
        while seen[-1]["type"] != "response.output_text.delta":
            seen.append(json.loads(await socket.recv()))
        answers = await asyncio.gather(*(login(http, "bob", PASSWORD) for _ in range(200)))
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = [answer for answer in answers if answer.status_code == 429]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        seen += await receive_all(socket)
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
        assert seen[-1]["type"] == "response.completed"
        assert text_of(seen) == text_of(await ask(socket, "[[tokens=100 pace=0]]"))
        for _ in range(60):
            if (answer := await login(http, "bob", PASSWORD)).status_code == 200:
                break
            await asyncio.sleep(int(answer.headers["retry-after"]))
        assert answer.status_code == 200
