"""Tests of auth_service.registration."""

import asyncio

import pytest

from auth_service.audit import Action
from auth_service.settings import Settings
from tests.auth_service.conftest import PASSWORD, Service, running
from tests.auth_service.fakes import CountingHasher


async def register(service: Service, name: str, password: str = PASSWORD, **more: str) -> tuple[int, dict[str, object]]:
    response = await service.http.post("/auth/register", json={"username": name, "password": password, **more})
    return response.status_code, response.json()


def status_and_code(answer: tuple[int, dict[str, object]]) -> tuple[int, object]:
    status, body = answer
    error = body["error"]
    assert isinstance(error, dict)
    return status, error["code"]


async def registration_mode(service: Service) -> str:
    return str((await service.http.get("/auth/options")).json()["registration"])


async def create_invite(service: Service, **fields: int) -> str:
    response = await service.http.post("/auth/admin/invites", json=fields)
    assert response.status_code == 200, response.text
    return str(response.json()["link"].partition("/#invite=")[2])


async def test_the_first_registration_is_the_administrator_and_the_second_is_rejected(service: Service) -> None:
    assert await registration_mode(service) == "first"
    status, me = await register(service, "Root")
    assert (status, me["username"], me["role"]) == (200, "root", "admin")
    assert (await service.http.get("/auth/me")).json() == me
    assert await registration_mode(service) == "closed"
    assert status_and_code(await register(service, "bob")) == (403, "registration_closed")


async def test_exactly_one_of_several_concurrent_first_registrations_succeeds(service: Service) -> None:
    answers = await asyncio.gather(*(register(service, f"user{number}") for number in range(5)))
    assert sorted(status for status, _ in answers) == [200, 403, 403, 403, 403]


async def test_a_rejected_first_registration_keeps_the_mode(service: Service) -> None:
    assert status_and_code(await register(service, "root", "short")) == (400, "unsuitable_password")
    assert status_and_code(await register(service, "no name")) == (400, "unsuitable_name")
    assert await registration_mode(service) == "first"


async def test_open_registration_creates_users(settings: Settings, hasher: CountingHasher) -> None:
    async with running(settings.model_copy(update={"registration": "open"}), hasher) as service:
        await register(service, "root")
        status, me = await register(service, "bob")
        assert (status, me["role"]) == (200, "user")
        assert status_and_code(await register(service, "BOB")) == (409, "name_taken")


async def test_an_invite_creates_one_account(settings: Settings, hasher: CountingHasher) -> None:
    async with running(settings.model_copy(update={"registration": "invite"}), hasher) as service:
        await register(service, "root")
        invite = await create_invite(service)
        assert status_and_code(await register(service, "bob")) == (403, "registration_closed")
        # A taken name does not use up the invite.
        assert status_and_code(await register(service, "root", invite=invite)) == (409, "name_taken")
        answers = await asyncio.gather(*(register(service, f"user{n}", invite=invite) for n in range(4)))
        assert sorted(status for status, _ in answers) == [200, 400, 400, 400]
        assert status_and_code(await register(service, "late", invite=invite)) == (400, "invalid_link")


async def test_the_audit_log_records_who_used_an_invite(settings: Settings, hasher: CountingHasher) -> None:
    async with running(settings.model_copy(update={"registration": "invite"}), hasher) as service:
        await register(service, "root")
        invite = await create_invite(service)
        [listed] = (await service.http.get("/auth/admin/invites")).json()["data"]
        _, bob = await register(service, "bob", invite=invite)
        used = [one for one in await service.state["administration"].list_audit(9, None) if one.subject == listed["id"]]
        assert [(one.actor, one.action) for one in used[:1]] == [(bob["id"], Action.INVITE_USED)]


async def test_a_revoked_or_forged_invite_is_rejected_before_hashing(
    settings: Settings, hasher: CountingHasher
) -> None:
    async with running(settings.model_copy(update={"registration": "invite"}), hasher) as service:
        await register(service, "root")
        invite = await create_invite(service)
        [listed] = (await service.http.get("/auth/admin/invites")).json()["data"]
        assert (await service.http.delete(f"/auth/admin/invites/{listed['id']}")).status_code == 204
        assert (await service.http.delete(f"/auth/admin/invites/{listed['id']}")).status_code == 404
        hasher.operations.clear()
        for forged in [invite, "", "pi_" + "a" * 43, "pr_" + "a" * 43, "x" * 5000, invite[:-1], "\x00"]:
            assert status_and_code(await register(service, "bob", invite=forged)) == (400, "invalid_link")
        assert hasher.operations == []


async def test_closed_registration_rejects_the_creation_of_invites(service: Service) -> None:
    await register(service, "root")
    response = await service.http.post("/auth/admin/invites", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (403, "registration_closed")


async def test_a_link_begins_with_the_public_url(settings: Settings, hasher: CountingHasher) -> None:
    known = settings.model_copy(update={"registration": "invite", "public_url": "https://chat.example.org"})
    async with running(known, hasher) as service:
        await register(service, "root")
        link = (await service.http.post("/auth/admin/invites", json={})).json()["link"]
        assert link.startswith("https://chat.example.org/#invite=pi_")


@pytest.mark.parametrize(("length", "status"), [(0, 400), (7, 400), (8, 200), (128, 200), (129, 400)])
async def test_the_length_of_a_password_is_checked_before_hashing(
    service: Service, hasher: CountingHasher, length: int, status: int
) -> None:
    assert (await register(service, "root", ("correct horse " * 10)[:length]))[0] == status
    assert hasher.operations == (["hash"] if status == 200 else [])


async def test_a_password_of_a_megabyte_is_rejected_before_parsing(service: Service, hasher: CountingHasher) -> None:
    assert status_and_code(await register(service, "root", "x" * 1_000_000)) == (413, "body_too_large")
    assert hasher.operations == []


@pytest.mark.parametrize("name", ["\uff41dmin", "adm\u0131n", "\u0430dmin", "ad\u200bmin", "admin\u0000", "\u212aate"])
async def test_a_look_alike_name_is_rejected(service: Service, name: str) -> None:
    assert status_and_code(await register(service, name)) == (400, "unsuitable_name")


async def test_a_name_in_another_case_is_the_same_name(service: Service) -> None:
    await register(service, "ADMIN")
    assert (await service.login("Admin")).json()["username"] == "admin"
