"""Tests of auth_service.password_changes and the locks of store.accounts: changes between authentication and use."""

import asyncio
from collections.abc import AsyncGenerator

import httpx2
import pytest

from auth_service.accounts import Account, Role
from auth_service.administration import AccountChange
from auth_service.audit import COMMAND_LINE
from auth_service.errors import AccountChanged, NotFound
from auth_service.settings import Settings
from auth_service.tokens import Scope
from tests.auth_service.conftest import PASSWORD, Service, running
from tests.auth_service.fakes import PausingHasher

NEW = "another horse battery"
# The throttle serializes attempts from one address or with one device cookie, so concurrent ones need another address.
OTHER_ADDRESS = "198.51.100.7"


@pytest.fixture
def hasher() -> PausingHasher:
    return PausingHasher()


@pytest.fixture
async def service(settings: Settings, hasher: PausingHasher) -> AsyncGenerator[Service]:
    """The service with alice, who is not an administrator, logged in."""
    async with running(settings, hasher) as service:
        await service.add_user("root", role=Role.ADMIN)
        await service.add_user("alice")
        await service.login()
        yield service


@pytest.fixture
async def attacker(service: Service) -> AsyncGenerator[httpx2.AsyncClient]:
    """A browser at another address, logged in with alice's password."""
    async with service.new_browser(OTHER_ADDRESS) as browser:
        await browser.post("/auth/login", json={"username": "alice", "password": PASSWORD})
        yield browser


async def change(browser: httpx2.AsyncClient, new: str, current: str = PASSWORD) -> httpx2.Response:
    return await browser.post("/auth/password", json={"current_password": current, "new_password": new})


async def login(browser: httpx2.AsyncClient) -> httpx2.Response:
    return await browser.post("/auth/login", json={"username": "alice", "password": PASSWORD})


async def alice(service: Service) -> Account:
    return await service.state["administration"].get_by_name("alice")


async def remove(service: Service) -> None:
    await service.state["administration"].delete(await alice(service), COMMAND_LINE)


def status_and_code(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"] if answer.content else ""


async def test_a_log_in_with_a_password_changed_meanwhile_opens_no_session(
    service: Service, hasher: PausingHasher, attacker: httpx2.AsyncClient
) -> None:
    async with hasher.paused(login(attacker)) as paused:
        assert (await change(service.http, NEW)).status_code == 204
    assert status_and_code(await paused) == (401, "invalid_credentials")
    assert len(await service.state["sessions"].list_by_account((await alice(service)).id)) == 1


async def test_the_first_of_two_concurrent_password_changes_wins(
    service: Service, hasher: PausingHasher, attacker: httpx2.AsyncClient
) -> None:
    async with hasher.paused(change(attacker, "the horse of a thief")) as paused:
        assert (await change(service.http, NEW)).status_code == 204
    assert status_and_code(await paused) == (401, "not_logged_in")
    assert (await service.login(password=NEW)).status_code == 200


async def test_the_second_of_two_concurrent_changes_in_one_session_has_the_wrong_password(
    service: Service, hasher: PausingHasher
) -> None:
    async with service.new_browser(OTHER_ADDRESS) as moved:
        moved.cookies["parley_session"] = service.http.cookies["parley_session"]
        async with hasher.paused(change(moved, "the horse of a hurry")) as paused:
            assert (await change(service.http, NEW)).status_code == 204
        assert status_and_code(await paused) == (400, "wrong_password")
    assert (await service.login(password=NEW)).status_code == 200


async def test_a_password_change_in_a_session_revoked_meanwhile_changes_nothing(
    service: Service, hasher: PausingHasher, attacker: httpx2.AsyncClient
) -> None:
    async with hasher.paused(change(attacker, NEW)) as paused:
        assert (await service.http.delete("/auth/sessions")).status_code == 204
    assert status_and_code(await paused) == (401, "not_logged_in")
    assert (await service.login()).status_code == 200


async def test_an_account_is_not_deleted_with_a_password_changed_meanwhile(
    service: Service, hasher: PausingHasher, attacker: httpx2.AsyncClient
) -> None:
    deletion = attacker.request("DELETE", "/auth/me", json={"current_password": PASSWORD})
    async with hasher.paused(deletion) as paused:
        assert (await change(service.http, NEW)).status_code == 204
    assert status_and_code(await paused) == (401, "not_logged_in")
    assert (await service.login(password=NEW)).status_code == 200


async def test_a_log_in_to_an_account_deleted_or_disabled_meanwhile_fails_like_any_other(
    service: Service, hasher: PausingHasher, attacker: httpx2.AsyncClient
) -> None:
    async with hasher.paused(login(attacker)) as paused:
        await service.state["administration"].change(
            (await alice(service)).id, AccountChange(disabled=True), COMMAND_LINE
        )
    assert status_and_code(await paused) == (401, "invalid_credentials")
    await service.state["administration"].change((await alice(service)).id, AccountChange(disabled=False), COMMAND_LINE)
    async with hasher.paused(login(attacker)) as paused:
        await remove(service)
    assert status_and_code(await paused) == (401, "invalid_credentials")


async def test_introspection_of_a_password_changed_meanwhile_is_inactive(
    service: Service, hasher: PausingHasher
) -> None:
    asked = service.introspect(username="alice", token=PASSWORD, client_address=OTHER_ADDRESS)
    async with hasher.paused(asked) as paused:
        assert (await change(service.http, NEW)).status_code == 204
    assert (await paused).json() == {"active": False}


async def test_a_reset_of_an_account_deleted_meanwhile_is_an_invalid_link(
    service: Service, hasher: PausingHasher
) -> None:
    link = await service.state["links"].create_reset((await alice(service)).id, COMMAND_LINE)
    async with hasher.paused(service.http.post("/auth/reset", json={"token": link.token, "password": NEW})) as paused:
        await remove(service)
    assert status_and_code(await paused) == (400, "invalid_link")


@pytest.mark.parametrize("end", ["deleted", "disabled", "another password"])
async def test_no_key_and_no_ticket_is_created_for_an_account_changed_meanwhile(service: Service, end: str) -> None:
    before = await alice(service)
    if end == "deleted":
        await remove(service)
    elif end == "disabled":
        await service.state["administration"].change(before.id, AccountChange(disabled=True), COMMAND_LINE)
    else:
        await change(service.http, NEW)
    with pytest.raises(AccountChanged):
        await service.state["keys"].create(before, "laptop", Scope.CHAT, COMMAND_LINE)
    with pytest.raises(AccountChanged):
        await service.state["tickets"].issue(before, "a" * 64)


async def test_no_reset_is_created_for_a_deleted_account(service: Service) -> None:
    before = await alice(service)
    await remove(service)
    with pytest.raises(NotFound):
        await service.state["links"].create_reset(before.id, COMMAND_LINE)


async def test_concurrent_changes_of_an_account_never_deadlock(service: Service) -> None:
    """A deadlock on PostgreSQL would be answered 503."""
    account = await alice(service)
    administration, links = service.state["administration"], service.state["links"]
    tokens = [(await links.create_reset(account.id, COMMAND_LINE)).token for _ in range(2)]
    session = {"Cookie": f"parley_session={service.http.cookies['parley_session']}"}
    async with service.new_browser(OTHER_ADDRESS) as browser:
        answers = await asyncio.gather(
            *(login(browser) for _ in range(6)),
            *(change(browser, NEW) for _ in range(2)),
            *(browser.post("/auth/keys", json={"name": "laptop"}, headers=session) for _ in range(4)),
            *(browser.post("/auth/tickets", headers=session) for _ in range(4)),
            *(browser.post("/auth/reset", json={"token": token, "password": NEW}) for token in tokens),
        )
    assert {answer.status_code for answer in answers} <= {200, 204, 400, 401, 429}
    results = await asyncio.gather(
        *(administration.change(account.id, AccountChange(disabled=on), COMMAND_LINE) for on in (True, False)),
        administration.delete(account, COMMAND_LINE),
        *(login(service.http) for _ in range(4)),
        return_exceptions=True,
    )
    assert [result for result in results if isinstance(result, Exception) and not isinstance(result, NotFound)] == []
