from http.cookies import Morsel, SimpleCookie

import httpx2
import pytest

from auth_service.accounts import Role
from auth_service.settings import Settings
from tests.auth_service.conftest import PASSWORD, Parley, running
from tests.auth_service.fakes import CountingHasher


def cookie_of(response: httpx2.Response) -> "Morsel[str]":
    return cookies_of(response)[0]


def cookies_of(response: httpx2.Response) -> "list[Morsel[str]]":
    return [morsel for one in response.headers.get_list("set-cookie") for morsel in SimpleCookie(one).values()]


async def test_a_log_in_says_who_it_is_and_sets_the_session_cookie(parley: Parley) -> None:
    account = await parley.user("alice", role=Role.ADMIN)
    response = await parley.login("alice")
    assert response.status_code == 200
    assert response.json() == {"id": account.id, "username": "alice", "role": "admin"}
    cookie = cookie_of(response)
    assert cookie.key == "parley_session"
    assert cookie["httponly"]
    assert cookie["samesite"] == "strict"
    assert cookie["path"] == "/"
    assert cookie["domain"] == ""
    assert cookie["secure"] == ""


async def test_under_tls_the_cookie_is_secure_and_bound_to_the_host(settings: Settings, hasher: CountingHasher) -> None:
    async with running(settings.model_copy(update={"cookie_secure": True}), hasher) as parley:
        await parley.user()
        cookie = cookie_of(await parley.login())
        assert cookie.key == "__Host-parley_session"
        assert cookie["secure"]
        assert cookie["domain"] == ""


async def test_me_is_the_user_of_the_session(parley: Parley) -> None:
    account = await parley.user()
    await parley.login()
    response = await parley.http.get("/auth/me")
    assert response.status_code == 200
    assert response.json() == {"id": account.id, "username": "alice", "role": "user"}


async def test_without_a_session_me_is_nobody(parley: Parley) -> None:
    response = await parley.http.get("/auth/me")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "not_logged_in"


async def test_log_out_ends_the_session_and_takes_the_cookie_back(parley: Parley) -> None:
    await parley.user()
    token = cookie_of(await parley.login()).value
    response = await parley.http.post("/auth/logout")
    assert response.status_code == 204
    assert response.content == b""
    assert cookie_of(response)["max-age"] == "0"
    stolen = await parley.http.get("/auth/me", headers={"Cookie": f"parley_session={token}"})
    assert stolen.status_code == 401


async def test_to_log_out_twice_is_no_error(parley: Parley) -> None:
    assert (await parley.http.post("/auth/logout")).status_code == 204


async def test_a_log_in_ends_the_session_the_browser_had(parley: Parley) -> None:
    await parley.user()
    first = cookie_of(await parley.login()).value
    second = cookie_of(await parley.login()).value
    assert first != second
    old = await parley.http.get("/auth/me", headers={"Cookie": f"parley_session={first}"})
    assert old.status_code == 401


async def test_a_session_planted_before_the_log_in_is_not_taken_over(parley: Parley) -> None:
    await parley.user()
    planted = "ps_" + "a" * 43
    response = await parley.http.post(
        "/auth/login",
        json={"username": "alice", "password": PASSWORD},
        headers={"Cookie": f"parley_session={planted}"},
    )
    assert cookie_of(response).value != planted


@pytest.mark.parametrize("secure", [False, True])
async def test_a_log_in_leaves_a_cookie_that_outlives_it_and_lets_nobody_in(
    settings: Settings, hasher: CountingHasher, secure: bool
) -> None:
    async with running(settings.model_copy(update={"cookie_secure": secure}), hasher) as parley:
        await parley.user()
        _, cookie = cookies_of(await parley.login())
        assert cookie.key == ("__Host-parley_browser" if secure else "parley_browser")
        assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "strict", "/", "")
        assert bool(cookie["secure"]) == secure
        assert int(cookie["max-age"]) == 365 * 86400
        headers = {"Cookie": f"{cookie.key}={cookie.value}; {cookie.key.replace('browser', 'session')}={cookie.value}"}
        async with parley.browser("192.0.2.1") as other:
            assert (await other.get("/auth/me", headers=headers)).status_code == 401
        assert (await parley.introspect(token=cookie.value)).json() == {"active": False}


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong horse"), ("nobody", PASSWORD), ("\u0430lice", PASSWORD), ("", "")]
)
async def test_every_wrong_log_in_gets_the_same_answer(parley: Parley, name: str, password: str) -> None:
    await parley.user()
    response = await parley.login(name, password)
    assert response.status_code == 401
    assert response.json() == {
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_credentials",
            "message": "The user name or the password is wrong.",
            "param": None,
        }
    }
    assert parley.hasher.operations == ["verify"]
    assert "set-cookie" not in response.headers


async def test_a_wrong_log_in_leaves_the_session_of_the_browser_alone(parley: Parley) -> None:
    await parley.user()
    await parley.login()
    await parley.login(password="wrong horse")
    assert (await parley.http.get("/auth/me")).status_code == 200


async def test_a_password_of_129_characters_is_refused_before_hashing(parley: Parley) -> None:
    await parley.user()
    response = await parley.login(password="x" * 129)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "password"
    assert parley.hasher.operations == []


async def test_a_password_of_128_characters_may_log_in_in_either_unicode_form(parley: Parley) -> None:
    await parley.user(password="\u00e9" * 128)
    assert (await parley.login(password="e\u0301" * 128)).status_code == 200


async def test_a_password_may_hold_a_nul(parley: Parley) -> None:
    await parley.user(password="correct\x00horse")
    assert (await parley.login(password="correct\x00horse")).status_code == 200
    assert (await parley.login(password="correct")).status_code == 401


async def test_guessing_is_slowed_down_and_the_answer_says_how_long(parley: Parley) -> None:
    await parley.user()
    for _ in range(5):
        assert (await parley.login(password="wrong horse")).status_code == 401
    response = await parley.login()
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert response.json()["error"]["code"] == "too_many_attempts"


@pytest.mark.parametrize("token", ["", "x", "ps_" + "a" * 43, "pk_" + "a" * 43, "a" * 100_000, '"', "%00", "ps_\u00e9"])
async def test_a_forged_cookie_is_nobodys(parley: Parley, token: str) -> None:
    headers = {b"Cookie": f"parley_session={token}".encode("latin-1")}
    assert (await parley.http.get("/auth/me", headers=headers)).status_code == 401
    assert (await parley.http.post("/auth/logout", headers=headers)).status_code == 204


async def test_an_api_key_is_no_session(parley: Parley) -> None:
    await parley.user()
    key = await parley.key()
    response = await parley.http.get("/auth/me", headers={"Cookie": f"parley_session={key}"})
    assert response.status_code == 401


async def test_no_answer_about_a_user_is_stored_by_a_cache(parley: Parley) -> None:
    await parley.user()
    answers = [
        await parley.login(password="wrong horse"),
        await parley.login(),
        await parley.http.get("/auth/me"),
        await parley.http.post("/auth/logout"),
        await parley.introspect(token="x"),
    ]
    assert [answer.headers.get("cache-control") for answer in answers] == ["no-store"] * 5
