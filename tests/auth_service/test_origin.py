"""Tests of auth_service.routes.origin and the CORS headers of routes.tickets."""

import pytest

from auth_service.settings import Settings
from tests.auth_service.conftest import PASSWORD, Service, running, sqlite_only
from tests.auth_service.fakes import CountingHasher

pytestmark = sqlite_only

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
async def test_a_foreign_origin_changes_nothing(service: Service, path: str, origin: str) -> None:
    await service.add_user()
    await service.login()
    service.hasher.operations.clear()
    response = await service.http.post(path, json=CREDENTIALS, headers={"Origin": origin})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "foreign_origin"
    assert service.hasher.operations == []
    assert (await service.http.get("/auth/me")).status_code == 200


@pytest.mark.parametrize("origin", ["http://chat.test", "https://chat.test", "http://CHAT.test"])
async def test_the_same_origin_may_log_in_with_either_scheme(service: Service, origin: str) -> None:
    await service.add_user()
    response = await service.http.post("/auth/login", json=CREDENTIALS, headers={"Origin": origin})
    assert response.status_code == 200


OVER_TLS = "https://chat.test/auth/login"


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        (OVER_TLS, "chat.test:443", "https://chat.test"),
        ("/auth/login", "chat.test:443", "https://chat.test"),
        ("/auth/login", "chat.test:80", "http://chat.test"),
    ],
)
async def test_the_default_port_may_be_in_the_host(service: Service, url: str, host: str, origin: str) -> None:
    await service.add_user()
    headers = {"Host": host, "Origin": origin}
    assert (await service.http.post(url, json=CREDENTIALS, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("chat.test", "http://chat.test"),
        ("chat.test:80", "https://chat.test"),
        ("chat.test:443", "http://chat.test"),
        (":443", "https://:443"),
    ],
)
async def test_over_tls_an_origin_without_it_or_with_another_port_is_foreign(
    service: Service, host: str, origin: str
) -> None:
    headers = {"Host": host, "Origin": origin}
    assert (await service.http.post(OVER_TLS, json=CREDENTIALS, headers=headers)).status_code == 403


async def test_a_port_is_part_of_the_origin(service: Service) -> None:
    await service.add_user()
    headers = {"Origin": "http://localhost:7777", "Host": "localhost:7777"}
    assert (await service.http.post("/auth/login", json=CREDENTIALS, headers=headers)).status_code == 200


async def test_a_client_that_sends_no_origin_may_log_in(service: Service) -> None:
    await service.add_user()
    assert (await service.login()).status_code == 200


async def test_a_second_foreign_origin_header_is_rejected(service: Service) -> None:
    headers = [("Origin", "http://chat.test"), ("Origin", "https://evil.test")]
    assert (await service.http.post("/auth/logout", headers=headers)).status_code == 403


async def test_an_allowed_origin_must_match_exactly(settings: Settings, hasher: CountingHasher) -> None:
    allowing = settings.model_copy(update={"allowed_origins": ("https://pages.example.org",)})
    async with running(allowing, hasher) as service:
        await service.add_user()
        for origin, status in [("https://pages.example.org", 200), ("http://pages.example.org", 403)]:
            response = await service.http.post("/auth/login", json=CREDENTIALS, headers={"Origin": origin})
            assert response.status_code == status


async def test_an_allowed_origin_may_request_a_ticket_with_a_key_and_read_it(
    settings: Settings, hasher: CountingHasher
) -> None:
    page = "https://pages.example.org"
    async with running(settings.model_copy(update={"allowed_origins": (page,)}), hasher) as service:
        await service.add_user()
        preflight = await service.http.options("/auth/tickets", headers={"Origin": page})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-headers"] == "Authorization"
        asked = {"Origin": page, "Authorization": f"Bearer {await service.create_key()}"}
        answer = await service.http.post("/auth/tickets", headers=asked)
        assert answer.json()["ticket"].startswith("ek_")
        for one in (preflight, answer):
            assert one.headers["access-control-allow-origin"] == page
            assert one.headers["vary"] == "Origin"


@pytest.mark.parametrize("method", ["OPTIONS", "POST"])
async def test_a_foreign_origin_cannot_read_a_ticket(service: Service, method: str) -> None:
    await service.add_user()
    headers = {"Origin": "https://evil.test", "Authorization": f"Bearer {await service.create_key()}"}
    answer = await service.http.request(method, "/auth/tickets", headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_an_allowed_origin_can_read_only_tickets(settings: Settings, hasher: CountingHasher) -> None:
    page = "https://pages.example.org"
    async with running(settings.model_copy(update={"allowed_origins": (page,)}), hasher) as service:
        await service.add_user()
        await service.login()
        for path in ["/auth/me", "/auth/keys", "/auth/options"]:
            answer = await service.http.get(path, headers={"Origin": page})
            assert "access-control-allow-origin" not in answer.headers
