"""Tests of auth_service.device_cookies, store.device_cookies and routes.device_cookie."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx2
import pytest

from auth_service.accounts import Account, Role
from auth_service.device_cookies import LIFETIME_SECONDS, DeviceCookies
from auth_service.errors import StoreUnavailable
from auth_service.store.device_cookies import DeviceCookieStore
from auth_service.store.stores import Stores
from auth_service.tokens import TokenKind, new_id, new_token
from tests.auth_service.conftest import PASSWORD, Service
from tests.auth_service.fakes import Clock

SAME_ADDRESS = "192.0.2.1"


@pytest.fixture
async def other_browser(service: Service) -> AsyncGenerator[httpx2.AsyncClient]:
    """A browser without a device cookie, at the address of the first one."""
    async with service.new_browser(SAME_ADDRESS) as browser:
        yield browser


async def login(browser: httpx2.AsyncClient, name: str = "alice", password: str = PASSWORD) -> int:
    return (await browser.post("/auth/login", json={"username": name, "password": password})).status_code


async def guess_until_refused(browser: httpx2.AsyncClient, name: str = "alice") -> None:
    for _ in range(6):
        status = await login(browser, name, "wrong horse")
    assert status == 429


async def test_the_owner_logs_in_from_a_browser_with_a_device_cookie_while_others_guess(
    service: Service, other_browser: httpx2.AsyncClient
) -> None:
    await service.add_user()
    await service.login()
    await service.http.post("/auth/logout")
    await guess_until_refused(other_browser)
    assert await login(service.http) == 200
    assert await login(other_browser) == 429


async def test_a_throttled_address_does_not_affect_a_browser_with_a_device_cookie(
    service: Service, other_browser: httpx2.AsyncClient
) -> None:
    await service.add_user()
    await service.login()
    for number in range(50):
        await login(other_browser, f"user{number}", "wrong horse")
    assert await login(other_browser, "user50", "wrong horse") == 429
    assert await login(service.http) == 200


async def test_guessing_with_a_device_cookie_is_throttled_separately(
    service: Service, other_browser: httpx2.AsyncClient
) -> None:
    await service.add_user()
    await service.login()
    await guess_until_refused(service.http)
    assert await login(other_browser) == 200


async def test_a_password_can_be_changed_while_others_guess(
    service: Service, other_browser: httpx2.AsyncClient
) -> None:
    await service.add_user()
    await service.login()
    await guess_until_refused(other_browser)
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    before = service.http.cookies["parley_browser"]
    assert (await service.http.post("/auth/password", json=body)).status_code == 204
    assert service.http.cookies["parley_browser"] != before
    assert await login(service.http, password="another horse battery") == 200


async def test_a_device_cookie_is_valid_for_one_account_only(
    service: Service, other_browser: httpx2.AsyncClient
) -> None:
    await service.add_user("alice")
    await service.add_user("bob")
    await service.login("bob")
    await guess_until_refused(other_browser, "alice")
    assert await login(service.http, "alice") == 429
    assert await login(service.http, "bob") == 200


@pytest.mark.parametrize("cookie", ["", "pb_", "pb_" + "a" * 43, "ps_" + "a" * 43, "x" * 10_000, "%00"])
async def test_a_forged_device_cookie_has_no_effect(service: Service, cookie: str) -> None:
    await service.add_user()
    headers = {"Cookie": f"parley_browser={cookie}"}
    body = {"username": "alice", "password": "wrong horse"}
    statuses = [(await service.http.post("/auth/login", json=body, headers=headers)).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]


async def test_a_failed_log_in_sets_no_device_cookie(service: Service) -> None:
    await service.add_user()
    answer = await service.login(password="wrong horse")
    assert "set-cookie" not in answer.headers


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def device_cookies(stores: Stores, clock: Clock) -> DeviceCookies:
    return DeviceCookies(stores, clock)


@pytest.fixture
async def alice(stores: Stores) -> Account:
    return await add_account(stores, "alice")


async def add_account(stores: Stores, name: str) -> Account:
    account = Account(new_id("user"), name, "hash", Role.USER, disabled=False, created_at=0)
    await stores.accounts.add(account)
    return account


async def test_a_device_cookie_is_renewed_with_every_log_in_and_expires_after_a_year(
    device_cookies: DeviceCookies, alice: Account, clock: Clock
) -> None:
    token = await device_cookies.renew_or_issue(alice, None)
    clock.now += LIFETIME_SECONDS - 1
    assert await device_cookies.renew_or_issue(alice, token) == token
    clock.now += LIFETIME_SECONDS - 1
    assert await device_cookies.recognize("alice", token)
    clock.now += 1
    assert await device_cookies.recognize("alice", token) is None
    assert await device_cookies.renew_or_issue(alice, token) not in {token, None}


async def test_a_device_cookie_of_another_account_or_of_nobody_is_replaced(
    device_cookies: DeviceCookies, stores: Stores, alice: Account
) -> None:
    mallory = await add_account(stores, "mallory")
    copied = await device_cookies.renew_or_issue(mallory, None)
    assert await device_cookies.renew_or_issue(alice, copied) != copied
    planted = new_token(TokenKind.DEVICE)
    assert await device_cookies.renew_or_issue(alice, planted) != planted
    assert await device_cookies.recognize("alice", planted) is await device_cookies.recognize("alice", copied) is None


async def test_an_account_has_at_most_twenty_device_cookies_and_the_oldest_is_removed(
    device_cookies: DeviceCookies, alice: Account, clock: Clock
) -> None:
    tokens = []
    for _ in range(21):
        tokens.append(await device_cookies.renew_or_issue(alice, None))
        clock.now += 1
    assert [bool(await device_cookies.recognize("alice", token)) for token in tokens] == [False] + [True] * 20


async def test_device_cookies_of_a_deleted_account_are_invalid(
    device_cookies: DeviceCookies, stores: Stores, alice: Account
) -> None:
    token = await device_cookies.renew_or_issue(alice, None)
    await stores.accounts.remove(alice.id)
    assert await device_cookies.recognize("alice", token) is None
    assert await device_cookies.renew_or_issue(alice, token) is None


async def test_a_new_password_invalidates_all_device_cookies_but_that_of_the_current_browser(
    service: Service, other_browser: httpx2.AsyncClient
) -> None:
    await service.add_user()
    assert await login(other_browser) == 200
    await service.login()
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    assert (await service.http.post("/auth/password", json=body)).status_code == 204
    known = service.state["device_cookies"].recognize
    assert await known("alice", other_browser.cookies["parley_browser"]) is None
    assert await known("alice", service.http.cookies["parley_browser"])


class FailingDeviceCookieStore(DeviceCookieStore):
    async def add(self, account_id: str, token: str, now: int, expires_at: int, max_per_account: int) -> None:
        raise StoreUnavailable("database or disk is full")


async def test_a_log_in_succeeds_if_the_device_cookie_cannot_be_stored(stores: Stores, alice: Account) -> None:
    full = replace(stores, device_cookies=FailingDeviceCookieStore(stores.database))
    assert await DeviceCookies(full).renew_or_issue(alice, None) is None
