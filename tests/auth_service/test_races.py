"""What was asked for by somebody who was let in, and is written after that somebody no longer would be."""

import asyncio
from collections.abc import AsyncGenerator

import httpx2
import pytest

from auth_service.accounts import Account, Role
from auth_service.administration import Change
from auth_service.audit import COMMAND_LINE
from auth_service.errors import AccountChanged, NotFound
from auth_service.settings import Settings
from auth_service.tokens import Scope
from tests.auth_service.conftest import PASSWORD, Parley, running
from tests.auth_service.fakes import LateHasher

NEW = "another horse battery"
# Attempts at one account go one after the other where they come from one address or one known browser.
ELSEWHERE = "198.51.100.7"


@pytest.fixture
def hasher() -> LateHasher:
    return LateHasher()


@pytest.fixture
async def parley(settings: Settings, hasher: LateHasher) -> AsyncGenerator[Parley]:
    """Where alice, who is no administrator, is logged in."""
    async with running(settings, hasher) as parley:
        await parley.user("root", role=Role.ADMIN)
        await parley.user("alice")
        await parley.login()
        yield parley


@pytest.fixture
async def thief(parley: Parley) -> AsyncGenerator[httpx2.AsyncClient]:
    """A browser elsewhere, in which somebody with alice's password has logged in."""
    async with parley.browser(ELSEWHERE) as browser:
        await browser.post("/auth/login", json={"username": "alice", "password": PASSWORD})
        yield browser


async def change(browser: httpx2.AsyncClient, new: str, current: str = PASSWORD) -> httpx2.Response:
    return await browser.post("/auth/password", json={"current_password": current, "new_password": new})


async def login(browser: httpx2.AsyncClient) -> httpx2.Response:
    return await browser.post("/auth/login", json={"username": "alice", "password": PASSWORD})


async def alice(parley: Parley) -> Account:
    return await parley.state["administration"].named("alice")


async def remove(parley: Parley) -> None:
    await parley.state["administration"].delete(await alice(parley), COMMAND_LINE)


def said(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"] if answer.content else ""


async def test_a_log_in_begun_with_the_old_password_leaves_no_session(
    parley: Parley, hasher: LateHasher, thief: httpx2.AsyncClient
) -> None:
    async with hasher.late(login(thief)) as late:
        assert (await change(parley.http, NEW)).status_code == 204
    assert said(await late) == (401, "invalid_credentials")
    assert len(await parley.state["sessions"].of_account((await alice(parley)).id)) == 1


async def test_of_two_changes_at_once_the_first_one_stays(
    parley: Parley, hasher: LateHasher, thief: httpx2.AsyncClient
) -> None:
    async with hasher.late(change(thief, "the horse of a thief")) as late:
        assert (await change(parley.http, NEW)).status_code == 204
    assert said(await late) == (401, "not_logged_in")
    assert (await parley.login(password=NEW)).status_code == 200


async def test_of_two_changes_in_one_session_the_second_one_no_longer_knows_the_password(
    parley: Parley, hasher: LateHasher
) -> None:
    async with parley.browser(ELSEWHERE) as moved:
        moved.cookies["parley_session"] = parley.http.cookies["parley_session"]
        async with hasher.late(change(moved, "the horse of a hurry")) as late:
            assert (await change(parley.http, NEW)).status_code == 204
        assert said(await late) == (400, "wrong_password")
    assert (await parley.login(password=NEW)).status_code == 200


async def test_a_change_by_a_session_that_was_revoked_meanwhile_changes_nothing(
    parley: Parley, hasher: LateHasher, thief: httpx2.AsyncClient
) -> None:
    async with hasher.late(change(thief, NEW)) as late:
        assert (await parley.http.delete("/auth/sessions")).status_code == 204
    assert said(await late) == (401, "not_logged_in")
    assert (await parley.login()).status_code == 200


async def test_an_account_is_not_deleted_by_who_had_its_password_a_moment_ago(
    parley: Parley, hasher: LateHasher, thief: httpx2.AsyncClient
) -> None:
    goodbye = thief.request("DELETE", "/auth/me", json={"current_password": PASSWORD})
    async with hasher.late(goodbye) as late:
        assert (await change(parley.http, NEW)).status_code == 204
    assert said(await late) == (401, "not_logged_in")
    assert (await parley.login(password=NEW)).status_code == 200


async def test_a_log_in_of_an_account_that_is_deleted_or_disabled_meanwhile_is_refused_like_any_other(
    parley: Parley, hasher: LateHasher, thief: httpx2.AsyncClient
) -> None:
    async with hasher.late(login(thief)) as late:
        await parley.state["administration"].change((await alice(parley)).id, Change(disabled=True), COMMAND_LINE)
    assert said(await late) == (401, "invalid_credentials")
    await parley.state["administration"].change((await alice(parley)).id, Change(disabled=False), COMMAND_LINE)
    async with hasher.late(login(thief)) as late:
        await remove(parley)
    assert said(await late) == (401, "invalid_credentials")


async def test_a_socket_is_not_opened_with_a_password_that_was_changed_meanwhile(
    parley: Parley, hasher: LateHasher
) -> None:
    asked = parley.introspect(username="alice", token=PASSWORD, client_address=ELSEWHERE)
    async with hasher.late(asked) as late:
        assert (await change(parley.http, NEW)).status_code == 204
    assert (await late).json() == {"active": False}


async def test_a_reset_of_an_account_that_is_deleted_meanwhile_finds_its_link_invalid(
    parley: Parley, hasher: LateHasher
) -> None:
    link = await parley.state["links"].reset((await alice(parley)).id, COMMAND_LINE)
    async with hasher.late(parley.http.post("/auth/reset", json={"token": link.token, "password": NEW})) as late:
        await remove(parley)
    assert said(await late) == (400, "invalid_link")


@pytest.mark.parametrize("end", ["deleted", "disabled", "another password"])
async def test_no_key_and_no_ticket_is_made_for_who_would_no_longer_be_let_in(parley: Parley, end: str) -> None:
    before = await alice(parley)
    if end == "deleted":
        await remove(parley)
    elif end == "disabled":
        await parley.state["administration"].change(before.id, Change(disabled=True), COMMAND_LINE)
    else:
        await change(parley.http, NEW)
    with pytest.raises(AccountChanged):
        await parley.state["keys"].create(before, "laptop", Scope.CHAT, COMMAND_LINE)
    with pytest.raises(AccountChanged):
        await parley.state["tickets"].issue(before, "a" * 64)


async def test_no_link_to_a_new_password_is_made_for_an_account_that_is_gone(parley: Parley) -> None:
    before = await alice(parley)
    await remove(parley)
    with pytest.raises(NotFound):
        await parley.state["links"].reset(before.id, COMMAND_LINE)


async def test_whatever_happens_to_an_account_at_once_nothing_fails_for_another_reason(parley: Parley) -> None:
    """On PostgreSQL: transactions that wait for each other would be a 503."""
    account = await alice(parley)
    administration, links = parley.state["administration"], parley.state["links"]
    tokens = [(await links.reset(account.id, COMMAND_LINE)).token for _ in range(2)]
    session = {"Cookie": f"parley_session={parley.http.cookies['parley_session']}"}
    async with parley.browser(ELSEWHERE) as browser:
        answers = await asyncio.gather(
            *(login(browser) for _ in range(6)),
            *(change(browser, NEW) for _ in range(2)),
            *(browser.post("/auth/keys", json={"name": "laptop"}, headers=session) for _ in range(4)),
            *(browser.post("/auth/tickets", headers=session) for _ in range(4)),
            *(browser.post("/auth/reset", json={"token": token, "password": NEW}) for token in tokens),
        )
    assert {answer.status_code for answer in answers} <= {200, 204, 400, 401, 429}
    results = await asyncio.gather(
        *(administration.change(account.id, Change(disabled=on), COMMAND_LINE) for on in (True, False)),
        administration.delete(account, COMMAND_LINE),
        *(login(parley.http) for _ in range(4)),
        return_exceptions=True,
    )
    assert [result for result in results if isinstance(result, Exception) and not isinstance(result, NotFound)] == []
