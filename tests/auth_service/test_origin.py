import pytest

from auth_service.settings import Settings
from tests.auth_service.conftest import PASSWORD, Parley, on_sqlite, running
from tests.auth_service.fakes import CountingHasher

pytestmark = on_sqlite

CREDENTIALS = {"username": "alice", "password": PASSWORD}
FOREIGN = [
    "null",
    "",
    "https://evil.test",
    "http://chat.test:81",
    "http://chat.test.evil.test",
    "http://evilchat.test",
    "http://user@chat.test",
    "file://chat.test",
    "chat.test",
    "http://[chat.test",
    "http://chat.test, http://evil.test",
]


@pytest.mark.parametrize("path", ["/auth/login", "/auth/logout"])
@pytest.mark.parametrize("origin", FOREIGN)
async def test_another_origin_changes_nothing(parley: Parley, path: str, origin: str) -> None:
    await parley.user()
    await parley.login()
    parley.hasher.operations.clear()
    response = await parley.http.post(path, json=CREDENTIALS, headers={"Origin": origin})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "foreign_origin"
    assert parley.hasher.operations == []
    assert (await parley.http.get("/auth/me")).status_code == 200


@pytest.mark.parametrize("origin", ["http://chat.test", "https://chat.test", "http://CHAT.test"])
async def test_the_own_origin_may_log_in_with_either_scheme(parley: Parley, origin: str) -> None:
    await parley.user()
    response = await parley.http.post("/auth/login", json=CREDENTIALS, headers={"Origin": origin})
    assert response.status_code == 200


async def test_a_port_is_part_of_the_origin(parley: Parley) -> None:
    await parley.user()
    headers = {"Origin": "http://localhost:7777", "Host": "localhost:7777"}
    assert (await parley.http.post("/auth/login", json=CREDENTIALS, headers=headers)).status_code == 200


async def test_a_client_that_sends_no_origin_may_log_in(parley: Parley) -> None:
    await parley.user()
    assert (await parley.login()).status_code == 200


async def test_one_foreign_origin_beside_the_own_one_is_enough_to_refuse(parley: Parley) -> None:
    headers = [("Origin", "http://chat.test"), ("Origin", "https://evil.test")]
    assert (await parley.http.post("/auth/logout", headers=headers)).status_code == 403


async def test_an_origin_on_the_list_may_log_in_and_only_as_it_is_written_there(
    settings: Settings, hasher: CountingHasher
) -> None:
    allowing = settings.model_copy(update={"allowed_origins": ("https://pages.example.org",)})
    async with running(allowing, hasher) as parley:
        await parley.user()
        for origin, status in [("https://pages.example.org", 200), ("http://pages.example.org", 403)]:
            response = await parley.http.post("/auth/login", json=CREDENTIALS, headers={"Origin": origin})
            assert response.status_code == status


async def test_a_page_of_an_origin_on_the_list_may_ask_for_a_ticket_with_a_key_and_read_it(
    settings: Settings, hasher: CountingHasher
) -> None:
    page = "https://pages.example.org"
    async with running(settings.model_copy(update={"allowed_origins": (page,)}), hasher) as parley:
        await parley.user()
        preflight = await parley.http.options("/auth/tickets", headers={"Origin": page})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-headers"] == "Authorization"
        asked = {"Origin": page, "Authorization": f"Bearer {await parley.key()}"}
        answer = await parley.http.post("/auth/tickets", headers=asked)
        assert answer.json()["ticket"].startswith("ek_")
        for one in (preflight, answer):
            assert one.headers["access-control-allow-origin"] == page
            assert one.headers["vary"] == "Origin"


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
async def test_a_page_of_another_origin_reads_no_ticket(parley: Parley, method: str) -> None:
    await parley.user()
    headers = {"Origin": "https://evil.test", "Authorization": f"Bearer {await parley.key()}"}
    answer = await parley.http.request(method, "/auth/tickets", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_nothing_but_a_ticket_can_be_read_by_a_page_of_another_origin(
    settings: Settings, hasher: CountingHasher
) -> None:
    page = "https://pages.example.org"
    async with running(settings.model_copy(update={"allowed_origins": (page,)}), hasher) as parley:
        await parley.user()
        await parley.login()
        for path in ["/auth/me", "/auth/keys", "/auth/options"]:
            answer = await parley.http.get(path, headers={"Origin": page})
            assert "access-control-allow-origin" not in answer.headers
