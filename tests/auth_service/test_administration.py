"""Tests of auth_service.administration, and of auth_service.audit and auth_service.one_time_links through it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from auth_service.accounts import Role, UsageLimits
from auth_service.administration import AccountChange, Administration
from auth_service.audit import COMMAND_LINE, Action, Actor
from auth_service.errors import (
    EmailTaken,
    InvalidLink,
    LastAdministrator,
    NameTaken,
    NotFound,
    UnknownAccount,
    UnsuitableEmail,
    UnsuitableName,
    UnsuitablePassword,
)
from auth_service.hashing import HashingPool
from auth_service.one_time_links import OneTimeLinks
from auth_service.revocations import Reason, Revocation
from auth_service.store.stores import Stores
from auth_service.tokens import TokenKind
from tests.auth_service.fakes import Clock, CountingHasher, RecordingAnnouncer

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Harness:
    administration: Administration
    stores: Stores
    announcer: RecordingAnnouncer

    async def id_of(self, name: str) -> str:
        return (await self.administration.get_by_name(name)).id

    async def change(self, name: str, change: AccountChange) -> None:
        await self.administration.change(await self.id_of(name), change, COMMAND_LINE)

    async def names(self) -> list[str]:
        return [user.name for user in await self.administration.list_users()]

    async def audit_actions(self) -> list[Action]:
        return [entry.action for entry in reversed(await self.administration.list_audit(100, None))]


@pytest.fixture
async def harness(stores: Stores, hasher: CountingHasher) -> AsyncGenerator[Harness]:
    pool, announcer = HashingPool(hasher, threads=1), RecordingAnnouncer()
    administration = Administration(stores, announcer, pool, Clock())
    await administration.add_user("root", PASSWORD, None, COMMAND_LINE)
    await administration.add_user("alice", PASSWORD, None, COMMAND_LINE)
    hasher.operations.clear()
    yield Harness(administration, stores, announcer)
    pool.close()


async def test_the_first_account_is_an_administrator_and_the_next_one_is_not(harness: Harness) -> None:
    assert (await harness.administration.get_by_name("root")).role is Role.ADMIN
    assert (await harness.administration.get_by_name("alice")).role is Role.USER


async def test_a_name_is_stored_in_its_canonical_form(harness: Harness) -> None:
    account = await harness.administration.add_user("Bob", PASSWORD, Role.USER, COMMAND_LINE)
    assert account.name == "bob"
    assert await harness.names() == ["alice", "bob", "root"]


@pytest.mark.parametrize(
    ("name", "password", "email", "refusal"),
    [
        ("ALICE", PASSWORD, None, NameTaken),
        ("b\u00f6b", PASSWORD, None, UnsuitableName),
        ("", PASSWORD, None, UnsuitableName),
        ("bob", "", None, UnsuitablePassword),
        ("bob", "short12", None, UnsuitablePassword),
        ("bob", "x" * 129, None, UnsuitablePassword),
        ("bob", "password123", None, UnsuitablePassword),
        ("bobbington", "BobbingTon1", None, UnsuitablePassword),
        ("bob", PASSWORD, "nowhere", UnsuitableEmail),
        ("bob", PASSWORD, "bob@a b", UnsuitableEmail),
        ("bob", PASSWORD, "b\nb@example.org", UnsuitableEmail),
        ("bob", PASSWORD, "x" * 65 + "@example.org", UnsuitableEmail),
    ],
)
async def test_an_invalid_user_is_not_added(
    harness: Harness, name: str, password: str, email: str | None, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await harness.administration.add_user(name, password, Role.USER, COMMAND_LINE, email)
    assert await harness.names() == ["alice", "root"]
    assert await harness.audit_actions() == [Action.USER_CREATED] * 2


async def test_a_rejected_password_is_not_hashed(harness: Harness, hasher: CountingHasher) -> None:
    with pytest.raises(UnsuitablePassword):
        await harness.administration.add_user("bob", "x" * 129, Role.USER, COMMAND_LINE)
    assert hasher.operations == []


async def test_two_users_cannot_have_the_same_email_address_in_different_case(harness: Harness) -> None:
    await harness.change("alice", AccountChange(email="Alice@Example.org"))
    with pytest.raises(EmailTaken):
        await harness.change("root", AccountChange(email="alice@example.ORG"))
    with pytest.raises(EmailTaken):
        await harness.administration.add_user("bob", PASSWORD, None, COMMAND_LINE, "ALICE@example.org")
    await harness.change("alice", AccountChange(email=""))
    await harness.change("root", AccountChange(email="alice@example.org"))


@pytest.mark.parametrize("change", [AccountChange(disabled=True), AccountChange(role=Role.USER)])
async def test_the_last_administrator_who_can_log_in_cannot_be_disabled_demoted_or_deleted(
    harness: Harness, change: AccountChange
) -> None:
    with pytest.raises(LastAdministrator):
        await harness.change("root", change)
    with pytest.raises(LastAdministrator):
        await harness.administration.delete(await harness.administration.get_by_name("root"), COMMAND_LINE)
    await harness.change("alice", AccountChange(role=Role.ADMIN))
    await harness.change("root", change)


async def test_a_change_is_atomic(harness: Harness) -> None:
    await harness.change("alice", AccountChange(email="alice@example.org"))
    everything = AccountChange(role=Role.USER, email="alice@example.org", limits={"messages_per_minute": 1})
    await harness.change("alice", AccountChange(role=Role.ADMIN))
    with pytest.raises(EmailTaken):
        await harness.change("root", everything)
    root = await harness.administration.get_by_name("root")
    assert (root.role, root.email, root.limits) == (Role.ADMIN, None, UsageLimits())


async def test_every_change_is_audited_and_one_without_an_effect_is_not(harness: Harness) -> None:
    await harness.change("alice", AccountChange(disabled=True))
    await harness.change("alice", AccountChange(disabled=True))
    await harness.change("alice", AccountChange(disabled=False, role=Role.ADMIN, limits={"tokens_per_day": 9}))
    assert (await harness.audit_actions())[2:] == [
        Action.USER_DISABLED,
        Action.ROLE_CHANGED,
        Action.USER_ENABLED,
        Action.LIMITS_CHANGED,
    ]


async def test_disabling_a_user_is_announced_once_and_revokes_all_credentials(harness: Harness) -> None:
    await harness.change("alice", AccountChange(disabled=True))
    await harness.change("alice", AccountChange(disabled=True))
    await harness.change("alice", AccountChange(disabled=False))
    assert harness.announcer.announced == [Revocation(await harness.id_of("alice"), None, Reason.USER)]


async def test_a_deletion_is_announced_and_pending_until_the_gateway_confirms_it(harness: Harness) -> None:
    alice = await harness.administration.get_by_name("alice")
    await harness.administration.delete(alice, COMMAND_LINE)
    assert harness.announcer.announced == [Revocation(alice.id, None, Reason.DELETED)]
    assert [account_id for account_id, _ in await harness.stores.deletions.list_oldest(10)] == [alice.id]
    await harness.stores.deletions.confirm(alice.id)
    await harness.stores.deletions.confirm(alice.id)
    assert await harness.stores.deletions.list_oldest(10) == []
    with pytest.raises(UnknownAccount):
        await harness.administration.get_by_name("alice")
    with pytest.raises(NotFound):
        await harness.administration.change(alice.id, AccountChange(disabled=True), COMMAND_LINE)


async def test_users_are_paginated_by_name(harness: Harness) -> None:
    for name in ["bob", "carol"]:
        await harness.administration.add_user(name, PASSWORD, None, COMMAND_LINE)
    first = await harness.administration.list_page(2, None)
    second = await harness.administration.list_page(2, first[-1].id)
    assert [user.name for user in [*first, *second]] == ["alice", "bob", "carol", "root"]
    assert await harness.administration.list_page(2, second[-1].id) == []


async def test_concurrent_changes_of_different_limits_are_all_applied(harness: Harness) -> None:
    alice = await harness.id_of("alice")
    names = ["messages_per_minute", "concurrent_answers", "tokens_per_day"]
    await asyncio.gather(
        *(harness.administration.change(alice, AccountChange(limits={name: 7}), COMMAND_LINE) for name in names)
    )
    assert (await harness.administration.get_by_id(alice)).limits == UsageLimits(7, 7, 7)


async def test_an_administrator_who_cannot_log_in_does_not_count_as_another_administrator(harness: Harness) -> None:
    await harness.administration.add_user("invited", None, Role.ADMIN, COMMAND_LINE)
    root = await harness.administration.get_by_name("root")
    with pytest.raises(LastAdministrator):
        await harness.administration.delete(root, COMMAND_LINE)
    await harness.stores.identities.add("https://accounts.example.org", "7", await harness.id_of("invited"), 0)
    await harness.administration.delete(root, COMMAND_LINE)


async def test_an_administrator_who_cannot_log_in_can_be_deleted(harness: Harness) -> None:
    invited = await harness.administration.add_user("invited", None, Role.ADMIN, COMMAND_LINE)
    await harness.administration.delete(invited, COMMAND_LINE)
    assert await harness.names() == ["alice", "root"]
    assert await harness.stores.accounts.get_by_id(invited.id) is None
    assert harness.announcer.announced == [Revocation(invited.id, None, Reason.DELETED)]
    assert (await harness.audit_actions())[-1] is Action.USER_DELETED


@pytest.mark.parametrize("demotion", [AccountChange(role=Role.USER), AccountChange(disabled=True), None], ids=str)
async def test_links_of_a_former_administrator_are_invalid(harness: Harness, demotion: AccountChange | None) -> None:
    former = await harness.administration.add_user("former", PASSWORD, Role.ADMIN, COMMAND_LINE)
    links = OneTimeLinks(harness.stores, Clock())
    invite, valid = await links.create_invite(Actor(former.id)), await links.create_invite(COMMAND_LINE)
    reset = await links.create_reset(await harness.id_of("alice"), Actor(former.id))
    await links.check(invite.token, TokenKind.INVITE)
    if demotion:
        await harness.change("former", demotion)
    else:
        await harness.administration.delete(former, COMMAND_LINE)
    assert await links.list_invites() == [valid.link]
    for link in (invite, reset):
        with pytest.raises(InvalidLink):
            await links.check(link.token, link.link.kind)
        with pytest.raises(InvalidLink):
            await links.redeem(link.token, link.link.kind)
    await links.redeem(valid.token, TokenKind.INVITE)
