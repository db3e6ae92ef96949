"""Tests of auth_service.sessions."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from auth_service.accounts import Account, Role
from auth_service.audit import COMMAND_LINE, Action
from auth_service.sessions import Sessions
from auth_service.store.database import Database
from auth_service.store.stores import Stores
from auth_service.store.tables import accounts
from auth_service.tokens import SessionLifetime, TokenKind, digest, new_token
from tests.auth_service.fakes import Clock, RecordingAnnouncer

ALICE = Account("user_1", "alice", "hash", Role.USER, disabled=False, created_at=0)
LIFETIME = SessionLifetime(idle_seconds=3600, absolute_seconds=86400)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def announcer() -> RecordingAnnouncer:
    return RecordingAnnouncer()


@pytest.fixture
async def sessions(stores: Stores, clock: Clock, announcer: RecordingAnnouncer) -> Sessions:
    await stores.accounts.add(ALICE)
    return Sessions(stores, announcer, LIFETIME, clock)


async def test_a_token_identifies_its_account_and_session(sessions: Sessions, clock: Clock) -> None:
    login = await sessions.get_by_token(await sessions.open(ALICE))
    assert login is not None
    assert login.account == ALICE
    assert login.ends_at == clock.now + LIFETIME.idle_seconds


async def test_every_log_in_opens_a_separate_session(sessions: Sessions) -> None:
    first, second = await sessions.open(ALICE), await sessions.open(ALICE)
    assert first != second
    await sessions.close(first)
    assert await sessions.get_by_token(first) is None
    assert await sessions.get_by_token(second) is not None


@pytest.mark.parametrize("token", [None, "", "ps_", "x" * 100_000, "ps_" + "a" * 43, "pk_" + "a" * 43, "ps_\x00"])
async def test_a_forged_token_has_no_session_and_closing_it_is_not_an_error(
    sessions: Sessions, token: str | None
) -> None:
    assert await sessions.get_by_token(token) is None
    await sessions.close(token)


async def test_a_truncated_token_has_no_session(sessions: Sessions) -> None:
    token = await sessions.open(ALICE)
    assert await sessions.get_by_token(token[:-1]) is None


async def test_an_idle_session_ends(sessions: Sessions, clock: Clock) -> None:
    token = await sessions.open(ALICE)
    clock.now += LIFETIME.idle_seconds
    assert await sessions.get_by_token(token) is None


async def test_a_session_in_use_ends_at_its_absolute_timeout(sessions: Sessions, clock: Clock) -> None:
    token, opened_at = await sessions.open(ALICE), clock.now
    while clock.now + 1800 < opened_at + LIFETIME.absolute_seconds:
        clock.now += 1800
        login = await sessions.get_by_token(token)
        assert login is not None
        assert login.ends_at <= opened_at + LIFETIME.absolute_seconds
    clock.now = opened_at + LIFETIME.absolute_seconds
    assert await sessions.get_by_token(token) is None


async def test_a_session_of_a_disabled_account_is_inactive(sessions: Sessions, database: Database) -> None:
    token = await sessions.open(ALICE)
    async with database.write_transaction() as connection:
        await connection.execute(update(accounts).values(disabled=True))
    assert await sessions.get_by_token(token) is None


async def test_sessions_outlive_the_process_that_opened_them(sessions: Sessions, stores: Stores, clock: Clock) -> None:
    token = await sessions.open(ALICE)
    after_restart = Sessions(stores, RecordingAnnouncer(), LIFETIME, clock)
    assert await after_restart.get_by_token(token) is not None


async def test_a_random_well_formed_token_has_no_session(sessions: Sessions) -> None:
    await sessions.open(replace(ALICE))
    assert await sessions.get_by_token(new_token(TokenKind.SESSION)) is None


async def test_a_user_has_at_most_fifty_sessions_and_the_least_recently_used_one_is_revoked(
    sessions: Sessions, stores: Stores, clock: Clock, announcer: RecordingAnnouncer
) -> None:
    tokens = []
    async with stores.database.write_transaction():  # one commit instead of fifty
        for _ in range(50):
            tokens.append(await sessions.open(ALICE))
            clock.now += 30
    # The first one has just been used, so the second one is the least recently used.
    assert await sessions.get_by_token(tokens[0])
    assert announcer.announced == []
    newest = await sessions.open(ALICE, address="192.0.2.1")
    assert await sessions.get_by_token(tokens[1]) is None
    assert all([await sessions.get_by_token(token) for token in [tokens[0], *tokens[2:], newest]])
    assert [one.credential for one in announcer.announced] == [digest(tokens[1])]
    assert (await stores.audit.list_page(1, None, int(clock.now)))[0].action is Action.SESSION_REVOKED


async def test_a_new_session_is_never_the_one_that_is_revoked(sessions: Sessions, stores: Stores) -> None:
    async with stores.database.write_transaction():  # one commit instead of sixty
        for _ in range(60):
            assert await sessions.get_by_token(await sessions.open(ALICE))
    assert len(await sessions.list_by_account(ALICE.id)) == 50


async def test_revoking_no_other_session_is_not_audited(sessions: Sessions, stores: Stores) -> None:
    await sessions.open(ALICE)
    [only] = await sessions.list_by_account(ALICE.id)
    assert await sessions.revoke_others(ALICE.id, only.id, COMMAND_LINE) == 0
    assert [entry.action for entry in await stores.audit.list_page(9, None, only.created_at)] == [Action.LOGGED_IN]
