"""Tests of auth_service.routes.login, and of routes.cookies and routes.state through it."""

from http.cookies import Morsel, SimpleCookie

import httpx2
import pytest

from auth_service.accounts import Role
from auth_service.settings import Settings
from tests.auth_service.conftest import PASSWORD, Service, running
from tests.auth_service.fakes import CountingHasher


def first_cookie(response: httpx2.Response) -> "Morsel[str]":
    return parse_cookies(response)[0]


def parse_cookies(response: httpx2.Response) -> "list[Morsel[str]]":
    return [morsel for one in response.headers.get_list("set-cookie") for morsel in SimpleCookie(one).values()]


async def test_a_log_in_returns_the_user_and_sets_the_session_cookie(service: Service) -> None:
    account = await service.add_user("alice", role=Role.ADMIN)
    response = await service.login("alice")
    assert response.status_code == 200
    assert response.json() == {"id": account.id, "username": "alice", "role": "admin"}
    cookie = first_cookie(response)
    assert cookie.key == "parley_session"
    assert cookie["httponly"]
    assert cookie["samesite"] == "strict"
    assert cookie["path"] == "/"
    assert cookie["domain"] == ""
    assert cookie["secure"] == ""


@pytest.mark.parametrize(("secure", "scheme"), [(True, "http"), (False, "https"), (True, "https")])
async def test_under_tls_the_cookie_is_secure_and_bound_to_the_host(
    settings: Settings, hasher: CountingHasher, secure: bool, scheme: str
) -> None:
    async with running(settings.model_copy(update={"cookie_secure": secure}), hasher) as service:
        await service.add_user()
        service.http.base_url = httpx2.URL(f"{scheme}://chat.test")
        cookie = first_cookie(await service.login())
        assert cookie.key == "__Host-parley_session"
        assert cookie["secure"]
        assert cookie["domain"] == ""
        for name, status in [(cookie.key, 200), ("parley_session", 401)]:
            service.http.cookies.clear()
            response = await service.http.get("/auth/me", headers={"Cookie": f"{name}={cookie.value}"})
            assert response.status_code == status


async def test_me_returns_the_user_of_the_session(service: Service) -> None:
    account = await service.add_user()
    await service.login()
    response = await service.http.get("/auth/me")
    assert response.status_code == 200
    assert response.json() == {"id": account.id, "username": "alice", "role": "user"}


async def test_me_without_a_session_is_answered_401(service: Service) -> None:
    response = await service.http.get("/auth/me")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "not_logged_in"


async def test_log_out_ends_the_session_and_clears_the_cookie(service: Service) -> None:
    await service.add_user()
    token = first_cookie(await service.login()).value
    response = await service.http.post("/auth/logout")
    assert response.status_code == 204
    assert response.content == b""
    assert first_cookie(response)["max-age"] == "0"
    stolen = await service.http.get("/auth/me", headers={"Cookie": f"parley_session={token}"})
    assert stolen.status_code == 401


async def test_logging_out_twice_is_not_an_error(service: Service) -> None:
    assert (await service.http.post("/auth/logout")).status_code == 204


async def test_a_log_in_ends_the_previous_session_of_the_browser(service: Service) -> None:
    await service.add_user()
    first = first_cookie(await service.login()).value
    second = first_cookie(await service.login()).value
    assert first != second
    old = await service.http.get("/auth/me", headers={"Cookie": f"parley_session={first}"})
    assert old.status_code == 401


async def test_a_log_in_does_not_adopt_a_session_fixed_by_an_attacker(service: Service) -> None:
    await service.add_user()
    planted = "ps_" + "a" * 43
    response = await service.http.post(
        "/auth/login",
        json={"username": "alice", "password": PASSWORD},
        headers={"Cookie": f"parley_session={planted}"},
    )
    assert first_cookie(response).value != planted


@pytest.mark.parametrize("secure", [False, True])
async def test_a_log_in_sets_a_device_cookie_that_authenticates_nobody(
    settings: Settings, hasher: CountingHasher, secure: bool
) -> None:
    async with running(settings.model_copy(update={"cookie_secure": secure}), hasher) as service:
        await service.add_user()
        _, cookie = parse_cookies(await service.login())
        assert cookie.key == ("__Host-parley_browser" if secure else "parley_browser")
        assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "strict", "/", "")
        assert bool(cookie["secure"]) == secure
        assert int(cookie["max-age"]) == 365 * 86400
        headers = {"Cookie": f"{cookie.key}={cookie.value}; {cookie.key.replace('browser', 'session')}={cookie.value}"}
        async with service.new_browser("192.0.2.1") as other:
            assert (await other.get("/auth/me", headers=headers)).status_code == 401
        assert (await service.introspect(token=cookie.value)).json() == {"active": False}


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong horse"), ("nobody", PASSWORD), ("\u0430lice", PASSWORD), ("", "")]
)
async def test_every_failed_log_in_gets_the_same_response(service: Service, name: str, password: str) -> None:
    await service.add_user()
    response = await service.login(name, password)
    assert response.status_code == 401
    assert response.json() == {
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_credentials",
            "message": "The user name or the password is wrong.",
            "param": None,
        }
    }
    assert service.hasher.operations == ["verify"]
    assert "set-cookie" not in response.headers


async def test_a_failed_log_in_keeps_the_session_of_the_browser(service: Service) -> None:
    await service.add_user()
    await service.login()
    await service.login(password="wrong horse")
    assert (await service.http.get("/auth/me")).status_code == 200


async def test_a_password_of_129_characters_is_rejected_before_hashing(service: Service) -> None:
    await service.add_user()
    response = await service.login(password="x" * 129)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "password"
    assert service.hasher.operations == []


async def test_a_password_of_128_characters_is_accepted_in_either_unicode_form(service: Service) -> None:
    await service.add_user(password="\u00e9" * 128)
    assert (await service.login(password="e\u0301" * 128)).status_code == 200


async def test_a_password_may_contain_a_nul(service: Service) -> None:
    await service.add_user(password="correct\x00horse")
    assert (await service.login(password="correct\x00horse")).status_code == 200
    assert (await service.login(password="correct")).status_code == 401


async def test_guessing_is_throttled_and_the_response_contains_the_delay(service: Service) -> None:
    await service.add_user()
    for _ in range(5):
        assert (await service.login(password="wrong horse")).status_code == 401
    response = await service.login()
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["code"] == "too_many_attempts"


@pytest.mark.parametrize("token", ["", "x", "ps_" + "a" * 43, "pk_" + "a" * 43, "a" * 100_000, '"', "%00", "ps_\u00e9"])
async def test_a_forged_session_cookie_is_rejected(service: Service, token: str) -> None:
    headers = {b"Cookie": f"parley_session={token}".encode("latin-1")}
    assert (await service.http.get("/auth/me", headers=headers)).status_code == 401
    assert (await service.http.post("/auth/logout", headers=headers)).status_code == 204


async def test_an_api_key_is_not_accepted_as_a_session(service: Service) -> None:
    await service.add_user()
    key = await service.create_key()
    response = await service.http.get("/auth/me", headers={"Cookie": f"parley_session={key}"})
    assert response.status_code == 401


async def test_responses_about_users_are_not_cached(service: Service) -> None:
    await service.add_user()
    answers = [
        await service.login(password="wrong horse"),
        await service.login(),
        await service.http.get("/auth/me"),
        await service.http.post("/auth/logout"),
        await service.introspect(token="x"),
    ]
    assert [answer.headers.get("cache-control") for answer in answers] == ["no-store"] * 5
