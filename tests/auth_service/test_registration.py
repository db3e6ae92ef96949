import asyncio

import pytest

from auth_service.audit import Action
from auth_service.settings import Settings
from tests.auth_service.conftest import PASSWORD, Parley, running
from tests.auth_service.fakes import CountingHasher


async def register(parley: Parley, name: str, password: str = PASSWORD, **more: str) -> tuple[int, dict[str, object]]:
    response = await parley.http.post("/auth/register", json={"username": name, "password": password, **more})
    return response.status_code, response.json()


def code_of(answer: tuple[int, dict[str, object]]) -> tuple[int, object]:
    status, body = answer
    error = body["error"]
    assert isinstance(error, dict)
    return status, error["code"]


async def mode(parley: Parley) -> str:
    return str((await parley.http.get("/auth/options")).json()["registration"])


async def invite_of(parley: Parley, **fields: int) -> str:
    response = await parley.http.post("/auth/admin/invites", json=fields)
    assert response.status_code == 200, response.text
    return str(response.json()["link"].partition("/#invite=")[2])


async def test_who_comes_first_is_the_administrator_and_nobody_comes_second(parley: Parley) -> None:
    assert await mode(parley) == "first"
    status, me = await register(parley, "Root")
    assert (status, me["username"], me["role"]) == (200, "root", "admin")
    assert (await parley.http.get("/auth/me")).json() == me
    assert await mode(parley) == "closed"
    assert code_of(await register(parley, "bob")) == (403, "registration_closed")


async def test_of_many_who_come_first_at_once_one_is_the_administrator(parley: Parley) -> None:
    answers = await asyncio.gather(*(register(parley, f"user{number}") for number in range(5)))
    assert sorted(status for status, _ in answers) == [200, 403, 403, 403, 403]


async def test_a_refused_first_account_leaves_the_place_free(parley: Parley) -> None:
    assert code_of(await register(parley, "root", "short")) == (400, "unsuitable_password")
    assert code_of(await register(parley, "no name")) == (400, "unsuitable_name")
    assert await mode(parley) == "first"


async def test_where_registration_is_open_anybody_makes_a_user(settings: Settings, hasher: CountingHasher) -> None:
    async with running(settings.model_copy(update={"registration": "open"}), hasher) as parley:
        await register(parley, "root")
        status, me = await register(parley, "bob")
        assert (status, me["role"]) == (200, "user")
        assert code_of(await register(parley, "BOB")) == (409, "name_taken")


async def test_an_invite_makes_one_account(settings: Settings, hasher: CountingHasher) -> None:
    async with running(settings.model_copy(update={"registration": "invite"}), hasher) as parley:
        await register(parley, "root")
        invite = await invite_of(parley)
        assert code_of(await register(parley, "bob")) == (403, "registration_closed")
        # A name that is taken does not use the invite up.
        assert code_of(await register(parley, "root", invite=invite)) == (409, "name_taken")
        answers = await asyncio.gather(*(register(parley, f"user{n}", invite=invite) for n in range(4)))
        assert sorted(status for status, _ in answers) == [200, 400, 400, 400]
        assert code_of(await register(parley, "late", invite=invite)) == (400, "invalid_link")


async def test_the_audit_log_tells_whom_an_invite_has_let_in(settings: Settings, hasher: CountingHasher) -> None:
    async with running(settings.model_copy(update={"registration": "invite"}), hasher) as parley:
        await register(parley, "root")
        invite = await invite_of(parley)
        [listed] = (await parley.http.get("/auth/admin/invites")).json()["data"]
        _, bob = await register(parley, "bob", invite=invite)
        used = [one for one in await parley.state["administration"].audit(9, None) if one.subject == listed["id"]]
        assert [(one.actor, one.action) for one in used[:1]] == [(bob["id"], Action.INVITE_USED)]


async def test_an_invite_that_was_revoked_or_never_was_one_costs_no_hashing(
    settings: Settings, hasher: CountingHasher
) -> None:
    async with running(settings.model_copy(update={"registration": "invite"}), hasher) as parley:
        await register(parley, "root")
        invite = await invite_of(parley)
        [listed] = (await parley.http.get("/auth/admin/invites")).json()["data"]
        assert (await parley.http.delete(f"/auth/admin/invites/{listed['id']}")).status_code == 204
        assert (await parley.http.delete(f"/auth/admin/invites/{listed['id']}")).status_code == 404
        hasher.operations.clear()
        for forged in [invite, "", "pi_" + "a" * 43, "pr_" + "a" * 43, "x" * 5000, invite[:-1], "\x00"]:
            assert code_of(await register(parley, "bob", invite=forged)) == (400, "invalid_link")
        assert hasher.operations == []


async def test_where_registration_is_closed_no_invite_is_made(parley: Parley) -> None:
    await register(parley, "root")
    response = await parley.http.post("/auth/admin/invites", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "registration_closed")


async def test_a_link_begins_with_the_address_that_users_know(settings: Settings, hasher: CountingHasher) -> None:
    known = settings.model_copy(update={"registration": "invite", "public_url": "https://chat.example.org"})
    async with running(known, hasher) as parley:
        await register(parley, "root")
        link = (await parley.http.post("/auth/admin/invites", json={})).json()["link"]
        assert link.startswith("https://chat.example.org/#invite=pi_")


@pytest.mark.parametrize(("length", "status"), [(0, 400), (7, 400), (8, 200), (128, 200), (129, 400)])
async def test_the_length_of_a_password_decides_before_it_is_hashed(
    parley: Parley, hasher: CountingHasher, length: int, status: int
) -> None:
    assert (await register(parley, "root", ("correct horse " * 10)[:length]))[0] == status
    assert hasher.operations == (["hash"] if status == 200 else [])


async def test_a_password_of_a_megabyte_is_refused_before_it_is_parsed(parley: Parley, hasher: CountingHasher) -> None:
    assert code_of(await register(parley, "root", "x" * 1_000_000)) == (413, "body_too_large")
    assert hasher.operations == []


@pytest.mark.parametrize("name", ["\uff41dmin", "adm\u0131n", "\u0430dmin", "ad\u200bmin", "admin\u0000", "\u212aate"])
async def test_a_look_alike_of_a_name_is_no_name(parley: Parley, name: str) -> None:
    assert code_of(await register(parley, name)) == (400, "unsuitable_name")


async def test_a_name_in_another_case_is_the_same_name(parley: Parley) -> None:
    await register(parley, "ADMIN")
    assert (await parley.login("Admin")).json()["username"] == "admin"
