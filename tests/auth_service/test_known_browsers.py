"""Whoever guesses from the address of the owner does not keep the owner out of a browser used before."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx2
import pytest

from auth_service.accounts import Account, Role
from auth_service.errors import StoreUnavailable
from auth_service.known_browsers import LIFETIME_SECONDS, KnownBrowsers
from auth_service.store.known_browsers import KnownBrowserStore
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, new_id, new_token
from tests.auth_service.conftest import PASSWORD, Parley
from tests.auth_service.fakes import Clock

OFFICE = "192.0.2.1"


@pytest.fixture
async def stranger(parley: Parley) -> AsyncGenerator[httpx2.AsyncClient]:
    """At the same address."""
    async with parley.browser(OFFICE) as browser:
        yield browser


async def login(browser: httpx2.AsyncClient, name: str = "alice", password: str = PASSWORD) -> int:
    return (await browser.post("/auth/login", json={"username": name, "password": password})).status_code


async def guess_until_refused(browser: httpx2.AsyncClient, name: str = "alice") -> None:
    for _ in range(6):
        status = await login(browser, name, "wrong horse")
    assert status == 429


async def test_the_owner_gets_in_where_the_password_was_right_before_however_much_is_guessed_beside(
    parley: Parley, stranger: httpx2.AsyncClient
) -> None:
    await parley.user()
    await parley.login()
    await parley.http.post("/auth/logout")
    await guess_until_refused(stranger)
    assert await login(parley.http) == 200
    assert await login(stranger) == 429


async def test_not_even_an_address_that_guesses_at_everybody_keeps_the_owner_out(
    parley: Parley, stranger: httpx2.AsyncClient
) -> None:
    await parley.user()
    await parley.login()
    for number in range(50):
        await login(stranger, f"user{number}", "wrong horse")
    assert await login(stranger, "user50", "wrong horse") == 429
    assert await login(parley.http) == 200


async def test_in_a_known_browser_guessing_is_slowed_down_too_and_slows_nobody_else(
    parley: Parley, stranger: httpx2.AsyncClient
) -> None:
    await parley.user()
    await parley.login()
    await guess_until_refused(parley.http)
    assert await login(stranger) == 200


async def test_a_change_of_password_gets_through_beside_guesses_too(
    parley: Parley, stranger: httpx2.AsyncClient
) -> None:
    await parley.user()
    await parley.login()
    await guess_until_refused(stranger)
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    before = parley.http.cookies["parley_browser"]
    assert (await parley.http.post("/auth/password", json=body)).status_code == 204
    assert parley.http.cookies["parley_browser"] != before
    assert await login(parley.http, password="another horse battery") == 200


async def test_a_browser_is_known_to_the_account_it_logged_in_to_and_to_no_other(
    parley: Parley, stranger: httpx2.AsyncClient
) -> None:
    await parley.user("alice")
    await parley.user("bob")
    await parley.login("bob")
    await guess_until_refused(stranger, "alice")
    assert await login(parley.http, "alice") == 429
    assert await login(parley.http, "bob") == 200


@pytest.mark.parametrize("cookie", ["", "pb_", "pb_" + "a" * 43, "ps_" + "a" * 43, "x" * 10_000, "%00"])
async def test_a_forged_cookie_makes_no_browser_known(parley: Parley, cookie: str) -> None:
    await parley.user()
    headers = {"Cookie": f"parley_browser={cookie}"}
    body = {"username": "alice", "password": "wrong horse"}
    statuses = [(await parley.http.post("/auth/login", json=body, headers=headers)).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]


async def test_a_log_in_that_failed_makes_no_browser_known(parley: Parley) -> None:
    await parley.user()
    answer = await parley.login(password="wrong horse")
    assert "set-cookie" not in answer.headers


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def browsers(stores: Stores, clock: Clock) -> KnownBrowsers:
    return KnownBrowsers(stores, clock)


@pytest.fixture
async def alice(stores: Stores) -> Account:
    return await added(stores, "alice")


async def added(stores: Stores, name: str) -> Account:
    account = Account(new_id("user"), name, "hash", Role.USER, disabled=False, created_at=0)
    await stores.accounts.add(account)
    return account


async def test_a_browser_keeps_its_token_while_it_is_used_and_is_forgotten_a_year_later(
    browsers: KnownBrowsers, alice: Account, clock: Clock
) -> None:
    token = await browsers.remember(alice, None)
    clock.now += LIFETIME_SECONDS - 1
    assert await browsers.remember(alice, token) == token
    clock.now += LIFETIME_SECONDS - 1
    assert await browsers.known("alice", token)
    clock.now += 1
    assert await browsers.known("alice", token) is None
    assert await browsers.remember(alice, token) not in {token, None}


async def test_a_token_that_somebody_else_may_have_kept_a_copy_of_is_not_taken_over(
    browsers: KnownBrowsers, stores: Stores, alice: Account
) -> None:
    mallory = await added(stores, "mallory")
    copied = await browsers.remember(mallory, None)
    assert await browsers.remember(alice, copied) != copied
    planted = new_token(Kind.BROWSER)
    assert await browsers.remember(alice, planted) != planted
    assert await browsers.known("alice", planted) is await browsers.known("alice", copied) is None


async def test_an_account_has_twenty_known_browsers_and_the_oldest_is_forgotten(
    browsers: KnownBrowsers, alice: Account, clock: Clock
) -> None:
    tokens = []
    for _ in range(21):
        tokens.append(await browsers.remember(alice, None))
        clock.now += 1
    assert [bool(await browsers.known("alice", token)) for token in tokens] == [False] + [True] * 20


async def test_of_an_account_that_is_gone_no_browser_is_known(
    browsers: KnownBrowsers, stores: Stores, alice: Account
) -> None:
    token = await browsers.remember(alice, None)
    await stores.accounts.remove(alice.id)
    assert await browsers.known("alice", token) is None
    assert await browsers.remember(alice, token) is None


async def test_a_new_password_forgets_every_browser_but_the_one_it_was_set_in(
    parley: Parley, stranger: httpx2.AsyncClient
) -> None:
    await parley.user()
    assert await login(stranger) == 200
    await parley.login()
    body = {"current_password": PASSWORD, "new_password": "another horse battery"}
    assert (await parley.http.post("/auth/password", json=body)).status_code == 204
    known = parley.state["browsers"].known
    assert await known("alice", stranger.cookies["parley_browser"]) is None
    assert await known("alice", parley.http.cookies["parley_browser"])


class FullStore(KnownBrowserStore):
    async def add(self, account_id: str, token: str, now: int, expires_at: int, most: int) -> None:
        raise StoreUnavailable("database or disk is full")


async def test_a_log_in_does_not_fail_because_the_browser_cannot_be_remembered(stores: Stores, alice: Account) -> None:
    full = replace(stores, known_browsers=FullStore(stores.database))
    assert await KnownBrowsers(full).remember(alice, None) is None
