"""Accounts as the world reaches them: through nginx, with the gateways behind it."""

import asyncio

import httpx2
import pytest

from tests.stack.conftest import PASSWORD, House, ask, text_of


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
        ({"username": "\u0430lice", "password": PASSWORD}, 401),
        ({"username": "ALICE", "password": PASSWORD}, 200),
        ({"username": "alice", "password": PASSWORD, "role": "admin"}, 400),
        (["alice", PASSWORD], 400),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_log_in_gets_its_answer_and_the_next_good_one_works(url: str, body: object, status: int) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
        assert (await http.post("/auth/login", json=body)).status_code == status
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


async def test_a_storm_of_log_ins_is_answered_429_and_a_chat_goes_on(url: str, house: House) -> None:
    async with httpx2.AsyncClient(base_url=url, timeout=120) as http:
        storm = [asyncio.create_task(login(http, "bob", PASSWORD)) for _ in range(200)]
        async with house.socket(house.alice) as socket:
            assert text_of(await ask(socket, "[[text=one two three]]")) == "one two three"
        answers = await asyncio.gather(*storm)
        assert {answer.status_code for answer in answers} == {200, 429}
        refused = [answer for answer in answers if answer.status_code == 429]
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        for _ in range(60):
            if (answer := await login(http, "bob", PASSWORD)).status_code == 200:
                break
            await asyncio.sleep(int(answer.headers["retry-after"]))
        assert answer.status_code == 200
