"""Accounts as the world reaches them: through nginx, with the gateways behind it."""

import asyncio
import json
import unicodedata
import zlib

import httpx2
import pytest

from tests.stack.conftest import PASSWORD, House, ask, text_of, until_the_end


@pytest.fixture
def url(house: House) -> str:
    return f"http://127.0.0.1:{house.stack.port}"


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
async def test_what_is_between_the_services_is_not_to_be_reached(
    url: str, house: House, method: str, path: str
) -> None:
    credential = (house.stack.plan.directory / "secrets/introspection_credential").read_text()
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {credential}"}) as http:
        answer = await http.request(method, path, content=b"token=x" if method == "POST" else None)
    # The page's own answer to an address it does not know, or none.
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
async def test_a_bad_log_in_gets_its_answer_and_the_next_good_one_works(url: str, body: object, status: int) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
        content, headers = json.dumps(body), {"Content-Type": "application/json"}
        assert (await http.post("/auth/login", content=content, headers=headers)).status_code == status
        http.cookies.clear()
        assert (await login(http, "carol", PASSWORD)).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.test", "null"])
async def test_a_page_of_another_origin_changes_nothing(url: str, origin: str) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
        await login(http, "carol", PASSWORD)
        for path in ["/auth/logout", "/auth/tickets", "/auth/keys", "/auth/password"]:
            answer = await http.post(path, json={}, headers={"Origin": origin})
            assert answer.status_code == 403
        assert (await http.get("/auth/me")).status_code == 200


@pytest.mark.parametrize("token", ["x" * 100_000, "pk_" + "a" * 43, "ek_" + "a" * 43])
async def test_a_forged_or_huge_credential_opens_nothing(url: str, token: str) -> None:
    async with httpx2.AsyncClient(base_url=url) as http:
        headers = {"Authorization": f"Bearer {token}"}
        for path in ["/auth/admin/users", "/v1/conversations"]:
            assert (await http.get(path, headers=headers)).status_code in {400, 401}


async def test_a_truncated_key_opens_nothing_and_neither_does_a_whole_one_in_the_address(
    url: str, house: House
) -> None:
    async with httpx2.AsyncClient(base_url=url) as http:
        headers = {"Authorization": f"Bearer {house.alice[:-1]}"}
        assert (await http.get("/v1/conversations", headers=headers)).status_code == 401
        query = {"api_key": house.alice, "token": house.alice, "authorization": f"Bearer {house.alice}"}
        for path in ["/v1/conversations", "/auth/me", "/auth/admin/users"]:
            assert (await http.get(path, params=query)).status_code == 401


@pytest.mark.parametrize(
    ("password", "status"),
    [("\u00e9" * 7, 400), ("\u00e9" * 8, 200), ("\u00e9" * 128, 200), ("\u00e9" * 129, 400)],
    ids=["7", "8", "128", "129"],
)
async def test_characters_of_a_password_count_as_they_are_read_however_they_are_written(
    url: str, house: House, password: str, status: int
) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
        # Whoever was added first is the administrator.
        await login(http, "alice", PASSWORD)
        name, decomposed = f"user-{len(password)}", unicodedata.normalize("NFD", password)
        made = await http.post("/auth/admin/users", json={"username": name, "password": decomposed})
        assert made.status_code == status
        http.cookies.clear()
        assert ((await login(http, name, password)).status_code == 200) == (status == 200)


async def test_behind_a_hundred_wrong_guesses_the_owner_gets_in_from_another_address(url: str) -> None:
    async with come_from(url, "127.0.0.3") as guesser, come_from(url, "127.0.0.4") as owner:
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
async def test_a_flood_of_what_costs_a_hash_or_asks_a_provider_does_not_reach_the_service(
    url: str, method: str, path: str, limited: bool
) -> None:
    # Of its own, so that nobody else pays for it.
    address = f"127.0.1.{1 + zlib.crc32(f'{method} {path}'.encode()) % 250}"
    async with come_from(url, address) as http:
        answers = await asyncio.gather(*(http.request(method, path, json={}) for _ in range(250)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert bool(refused) == limited
    assert {answer.json()["error"]["code"] for answer in refused} == ({"rate_limit_exceeded"} if limited else set())
    assert {answer.headers["retry-after"] for answer in refused} == ({"1"} if limited else set())


async def test_a_flood_of_anything_else_is_bounded_too(url: str) -> None:
    async with come_from(url, "127.0.1.251") as http:
        answers = await asyncio.gather(*(http.get("/auth/options") for _ in range(1000)))
    assert {answer.status_code for answer in answers} == {200, 429}
    assert {one.json()["error"]["code"] for one in answers if one.status_code == 429} == {"rate_limit_exceeded"}


def come_from(url: str, address: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, transport=httpx2.AsyncHTTPTransport(local_address=address), timeout=60)


async def test_a_storm_of_log_ins_is_bounded_and_an_answer_that_streams_meanwhile_is_whole(
    url: str, house: House
) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=120) as http, house.socket(house.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "input": "[[tokens=100 pace=0.05]]"}))
        seen = [json.loads(await socket.recv())]
        while seen[-1]["type"] != "response.output_text.delta":
            seen.append(json.loads(await socket.recv()))
        answers = await asyncio.gather(*(login(http, "bob", PASSWORD) for _ in range(200)))
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = [answer for answer in answers if answer.status_code == 429]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        seen += await until_the_end(socket)
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
        assert seen[-1]["type"] == "response.completed"
        assert text_of(seen) == text_of(await ask(socket, "[[tokens=100 pace=0]]"))
        for _ in range(60):
            if (answer := await login(http, "bob", PASSWORD)).status_code == 200:
                break
            await asyncio.sleep(int(answer.headers["retry-after"]))
        assert answer.status_code == 200
