import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from auth_service.accounts import Role, UsageLimits
from auth_service.administration import Administration, Change
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
from auth_service.tokens import Kind
from tests.auth_service.fakes import Clock, CountingHasher, Listener

PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class World:
    administration: Administration
    stores: Stores
    listener: Listener

    async def id_of(self, name: str) -> str:
        return (await self.administration.named(name)).id

    async def change(self, name: str, change: Change) -> None:
        await self.administration.change(await self.id_of(name), change, COMMAND_LINE)

    async def names(self) -> list[str]:
        return [user.name for user in await self.administration.users()]

    async def actions(self) -> list[Action]:
        return [entry.action for entry in reversed(await self.administration.audit(100, None))]


@pytest.fixture
async def world(stores: Stores, hasher: CountingHasher) -> AsyncGenerator[World]:
    pool, listener = HashingPool(hasher, threads=1), Listener()
    administration = Administration(stores, listener, pool, Clock())
    await administration.add_user("root", PASSWORD, None, COMMAND_LINE)
    await administration.add_user("alice", PASSWORD, None, COMMAND_LINE)
    hasher.operations.clear()
    yield World(administration, stores, listener)
    pool.close()


async def test_the_first_account_is_an_administrators_and_the_next_one_a_users(world: World) -> None:
    assert (await world.administration.named("root")).role is Role.ADMIN
    assert (await world.administration.named("alice")).role is Role.USER


async def test_a_name_is_stored_in_one_spelling(world: World) -> None:
    account = await world.administration.add_user("Bob", PASSWORD, Role.USER, COMMAND_LINE)
    assert account.name == "bob"
    assert await world.names() == ["alice", "bob", "root"]


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
async def test_a_user_who_is_refused_is_not_added(
    world: World, name: str, password: str, email: str | None, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        await world.administration.add_user(name, password, Role.USER, COMMAND_LINE, email)
    assert await world.names() == ["alice", "root"]
    assert await world.actions() == [Action.USER_CREATED] * 2


async def test_a_password_that_is_refused_is_not_hashed(world: World, hasher: CountingHasher) -> None:
    with pytest.raises(UnsuitablePassword):
        await world.administration.add_user("bob", "x" * 129, Role.USER, COMMAND_LINE)
    assert hasher.operations == []


async def test_two_users_cannot_have_one_email_address_in_two_spellings(world: World) -> None:
    await world.change("alice", Change(email="Alice@Example.org"))
    with pytest.raises(EmailTaken):
        await world.change("root", Change(email="alice@example.ORG"))
    with pytest.raises(EmailTaken):
        await world.administration.add_user("bob", PASSWORD, None, COMMAND_LINE, "ALICE@example.org")
    await world.change("alice", Change(email=""))
    await world.change("root", Change(email="alice@example.org"))


@pytest.mark.parametrize("change", [Change(disabled=True), Change(role=Role.USER)])
async def test_the_last_administrator_who_can_log_in_stays_one(world: World, change: Change) -> None:
    with pytest.raises(LastAdministrator):
        await world.change("root", change)
    with pytest.raises(LastAdministrator):
        await world.administration.delete(await world.administration.named("root"), COMMAND_LINE)
    await world.change("alice", Change(role=Role.ADMIN))
    await world.change("root", change)


async def test_a_change_happens_as_a_whole_or_not_at_all(world: World) -> None:
    await world.change("alice", Change(email="alice@example.org"))
    everything = Change(role=Role.USER, email="alice@example.org", limits={"messages_per_minute": 1})
    await world.change("alice", Change(role=Role.ADMIN))
    with pytest.raises(EmailTaken):
        await world.change("root", everything)
    root = await world.administration.named("root")
    assert (root.role, root.email, root.limits) == (Role.ADMIN, None, UsageLimits())


async def test_every_change_is_written_down_and_one_that_changes_nothing_is_not(world: World) -> None:
    await world.change("alice", Change(disabled=True))
    await world.change("alice", Change(disabled=True))
    await world.change("alice", Change(disabled=False, role=Role.ADMIN, limits={"tokens_per_day": 9}))
    assert (await world.actions())[2:] == [
        Action.USER_DISABLED,
        Action.ROLE_CHANGED,
        Action.USER_ENABLED,
        Action.LIMITS_CHANGED,
    ]


async def test_to_disable_a_user_is_announced_once_and_for_everything_the_user_has_open(world: World) -> None:
    await world.change("alice", Change(disabled=True))
    await world.change("alice", Change(disabled=True))
    await world.change("alice", Change(disabled=False))
    assert world.listener.heard == [Revocation(await world.id_of("alice"), None, Reason.USER)]


async def test_a_deleted_user_is_announced_and_kept_in_mind_until_the_gateway_has_followed(world: World) -> None:
    alice = await world.administration.named("alice")
    await world.administration.delete(alice, COMMAND_LINE)
    assert world.listener.heard == [Revocation(alice.id, None, Reason.DELETED)]
    assert [account_id for account_id, _ in await world.stores.deletions.oldest(10)] == [alice.id]
    await world.stores.deletions.confirm(alice.id)
    await world.stores.deletions.confirm(alice.id)
    assert await world.stores.deletions.oldest(10) == []
    with pytest.raises(UnknownAccount):
        await world.administration.named("alice")
    with pytest.raises(NotFound):
        await world.administration.change(alice.id, Change(disabled=True), COMMAND_LINE)


async def test_users_come_in_pages_by_name(world: World) -> None:
    for name in ["bob", "carol"]:
        await world.administration.add_user(name, PASSWORD, None, COMMAND_LINE)
    first = await world.administration.page(2, None)
    second = await world.administration.page(2, first[-1].id)
    assert [user.name for user in [*first, *second]] == ["alice", "bob", "carol", "root"]
    assert await world.administration.page(2, second[-1].id) == []


async def test_changes_of_different_limits_at_once_all_happen(world: World) -> None:
    alice = await world.id_of("alice")
    names = ["messages_per_minute", "concurrent_answers", "tokens_per_day"]
    await asyncio.gather(
        *(world.administration.change(alice, Change(limits={name: 7}), COMMAND_LINE) for name in names)
    )
    assert (await world.administration.with_id(alice)).limits == UsageLimits(7, 7, 7)


async def test_an_administrator_who_cannot_log_in_is_none_to_leave_the_house_to(world: World) -> None:
    await world.administration.add_user("invited", None, Role.ADMIN, COMMAND_LINE)
    root = await world.administration.named("root")
    with pytest.raises(LastAdministrator):
        await world.administration.delete(root, COMMAND_LINE)
    await world.stores.identities.add("https://accounts.example.org", "7", await world.id_of("invited"), 0)
    await world.administration.delete(root, COMMAND_LINE)


async def test_an_administrator_who_cannot_log_in_can_be_deleted(world: World) -> None:
    invited = await world.administration.add_user("invited", None, Role.ADMIN, COMMAND_LINE)
    await world.administration.delete(invited, COMMAND_LINE)


@pytest.mark.parametrize("fall", [Change(role=Role.USER), Change(disabled=True), None], ids=str)
async def test_the_links_of_an_administrator_are_worth_what_the_administrator_is(
    world: World, fall: Change | None
) -> None:
    former = await world.administration.add_user("former", PASSWORD, Role.ADMIN, COMMAND_LINE)
    links = OneTimeLinks(world.stores, Clock())
    invite, ours = await links.invite(Actor(former.id)), await links.invite(COMMAND_LINE)
    reset = await links.reset(await world.id_of("alice"), Actor(former.id))
    await links.check(invite.token, Kind.INVITE)
    if fall:
        await world.change("former", fall)
    else:
        await world.administration.delete(former, COMMAND_LINE)
    assert await links.invites() == [ours.link]
    for link in (invite, reset):
        with pytest.raises(InvalidLink):
            await links.check(link.token, link.link.kind)
        with pytest.raises(InvalidLink):
            await links.take(link.token, link.link.kind)
    await links.take(ours.token, Kind.INVITE)
