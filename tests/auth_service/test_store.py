"""Tests of auth_service.store."""

import asyncio
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from auth_service.accounts import Account, Role
from auth_service.audit import COMMAND_LINE, Action, Entry
from auth_service.errors import NameTaken, StoreUnavailable
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.store.audit import AuditStore
from auth_service.store.database import Database
from auth_service.store.migration import open_database
from auth_service.store.sessions import SessionStore
from auth_service.store.stores import Stores
from auth_service.store.tables import metadata
from auth_service.tokens import ApiKey, Link, Scope, Session, Ticket, TokenKind, new_token
from tests.auth_service.conftest import sqlite_only

ALICE = Account("user_1", "alice", "hash", Role.USER, disabled=False, created_at=100)


async def test_the_migrated_schema_equals_the_declared_tables(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.read_transaction() as connection:
        assert await connection.run_sync(differences) == []


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    await AccountStore(database).add(ALICE)
    deleted, read = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with database.write_transaction() as writer:
            await writer.execute(text("DELETE FROM accounts"))
            deleted.set()
            await read.wait()

    writing = asyncio.create_task(write())
    await deleted.wait()
    assert await AccountStore(database).list_all() == [ALICE]
    read.set()
    await writing


async def test_writers_that_read_first_wait_for_each_other(database: Database) -> None:
    await AccountStore(database).add(ALICE)

    async def increment() -> None:
        async with database.write_transaction() as connection:
            await AccountStore(database).lock_table()
            before = (await connection.execute(text("SELECT created_at FROM accounts"))).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(text("UPDATE accounts SET created_at = :after"), {"after": before + 1})

    await asyncio.gather(*(increment() for _ in range(8)))
    stored = await AccountStore(database).get_by_name("alice")
    assert stored is not None
    assert stored.created_at == ALICE.created_at + 8


async def test_a_name_can_be_taken_once(database: Database) -> None:
    await AccountStore(database).add(ALICE)
    with pytest.raises(NameTaken, match="alice"):
        await AccountStore(database).add(Account("user_2", "alice", "hash", Role.USER, disabled=False, created_at=1))


async def test_a_session_requires_an_account(database: Database) -> None:
    session = Session("sess_1", "user_nobody", created_at=0, last_used_at=0, expires_at=10)
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        await SessionStore(database).add(session, new_token(TokenKind.SESSION))


async def test_a_hash_changed_meanwhile_is_not_replaced(database: Database) -> None:
    store = AccountStore(database)
    await store.add(ALICE)
    await store.replace_hash(ALICE, "changed by the user")
    await store.replace_hash(ALICE, "renewed from the old one")
    stored = await store.get_by_name("alice")
    assert stored is not None
    assert stored.password_hash == "changed by the user"


@sqlite_only
async def test_no_token_is_in_the_database_file(database_url: str, tmp_path: Path) -> None:
    session_token, key_token = new_token(TokenKind.SESSION), new_token(TokenKind.API_KEY)
    async with open_database(database_url) as database:
        await AccountStore(database).add(ALICE)
        await SessionStore(database).add(Session("sess_1", "user_1", 0, 0, 10), session_token)
        await ApiKeyStore(database).add(ApiKey("key_1", "user_1", "laptop", Scope.CHAT, 0), key_token)
    files = (tmp_path / "auth.db").read_bytes()
    assert b"key_1" in files
    assert session_token[3:].encode() not in files
    assert key_token[3:].encode() not in files


async def test_expired_sessions_are_deleted_when_one_is_added(database: Database) -> None:
    await AccountStore(database).add(ALICE)
    store = SessionStore(database)
    await store.add(
        Session("sess_1", "user_1", created_at=0, last_used_at=0, expires_at=10), new_token(TokenKind.SESSION)
    )
    await store.add(
        Session("sess_2", "user_1", created_at=10, last_used_at=10, expires_at=20), new_token(TokenKind.SESSION)
    )
    assert [session.id for session in await store.list_by_account("user_1")] == ["sess_2"]


async def test_a_transaction_across_stores_is_atomic(stores: Stores) -> None:
    await stores.accounts.add(ALICE)
    bob = Account("user_2", "bob", "hash", Role.USER, disabled=False, created_at=1)

    async def add_both() -> None:
        async with stores.database.write_transaction():
            await stores.accounts.add(bob)
            assert await stores.accounts.get_by_name("bob") == bob
            await stores.accounts.add(ALICE)

    with pytest.raises(NameTaken):
        await add_both()
    assert [account.name for account in await stores.accounts.list_all()] == ["alice"]


async def test_a_link_is_redeemed_by_one_of_several_concurrent_calls(stores: Stores) -> None:
    token = new_token(TokenKind.INVITE)
    await stores.links.add(
        Link("invite_1", TokenKind.INVITE, None, COMMAND_LINE.id, created_at=0, expires_at=10), token
    )
    taken = await asyncio.gather(*(stores.links.redeem(token, now=5) for _ in range(8)))
    assert len([link for link in taken if link]) == 1
    assert await stores.links.redeem(token, now=5) is None


async def test_an_expired_link_cannot_be_redeemed(stores: Stores) -> None:
    token = new_token(TokenKind.INVITE)
    await stores.links.add(
        Link("invite_1", TokenKind.INVITE, None, COMMAND_LINE.id, created_at=0, expires_at=10), token
    )
    assert await stores.links.redeem(token, now=10) is None
    assert await stores.links.list_valid(TokenKind.INVITE, now=10) == []


async def test_removing_an_account_removes_everything_that_belongs_to_it(stores: Stores) -> None:
    await stores.accounts.add(ALICE)
    await stores.sessions.add(Session("sess_1", "user_1", 0, 0, 10), new_token(TokenKind.SESSION))
    await stores.api_keys.add(ApiKey("key_1", "user_1", "laptop", Scope.CHAT, 0), new_token(TokenKind.API_KEY))
    ticket = new_token(TokenKind.TICKET)
    await stores.tickets.add(Ticket("user_1", "c" * 64, 10), ticket, now=0)
    await stores.identities.add("https://id.example.org", "alice", "user_1", now=0)
    await stores.accounts.remove("user_1")
    assert await stores.sessions.list_by_account("user_1") == []
    assert await stores.api_keys.list_by_account("user_1") == []
    assert await stores.tickets.redeem(ticket, now=1) is None
    assert await stores.identities.get_account_id("https://id.example.org", "alice") is None


async def test_audit_entries_are_kept_for_the_retention_period(database: Database) -> None:
    audit = AuditStore(database, retention_seconds=100)
    for at in [0, 50, 99]:
        await audit.add(Entry(at, "user_1", Action.LOGGED_IN, "sess_1", "192.0.2.1"))
    assert [entry.at for entry in await audit.list_page(10, None, now=99)] == [99, 50, 0]
    assert [entry.at for entry in await audit.list_page(10, None, now=100)] == [99, 50]
    await audit.add(Entry(160, "user_1", Action.LOGGED_OUT, "sess_1", "192.0.2.1"))
    assert [entry.at for entry in await audit.list_page(10, None, now=0)] == [160, 99]


async def test_the_audit_log_is_paginated_with_the_newest_first(database: Database) -> None:
    audit = AuditStore(database, retention_seconds=100)
    for at in range(5):
        await audit.add(Entry(at, None, Action.LOGIN_REFUSED, None, "192.0.2.1"))
    first = await audit.list_page(3, None, now=5)
    second = await audit.list_page(3, first[-1].id, now=5)
    assert [entry.at for entry in [*first, *second]] == [4, 3, 2, 1, 0]


async def test_a_failed_statement_does_not_contain_its_parameters(database: Database) -> None:
    with pytest.raises((StoreUnavailable, ProgrammingError)) as failure:
        async with database.read_transaction() as connection:
            await connection.execute(text("SELECT :secret FROM nosuch"), {"secret": "canary"})
    assert "nosuch" in str(failure.value.__cause__)
    assert "canary" not in str(failure.value.__cause__)
    assert "canary" not in str(failure.value)
