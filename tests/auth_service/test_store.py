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
from auth_service.store.migration import opened
from auth_service.store.sessions import SessionStore
from auth_service.store.stores import Stores
from auth_service.store.tables import metadata
from auth_service.tokens import ApiKey, Kind, Link, Scope, Session, Ticket, new_token
from tests.auth_service.conftest import on_sqlite

ALICE = Account("user_1", "alice", "hash", Role.USER, disabled=False, created_at=100)


async def test_the_migrated_schema_is_the_one_the_program_declares(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    await AccountStore(database).add(ALICE)
    deleted, read = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with database.writing() as writer:
            await writer.execute(text("DELETE FROM accounts"))
            deleted.set()
            await read.wait()

    writing = asyncio.create_task(write())
    await deleted.wait()
    assert await AccountStore(database).all() == [ALICE]
    read.set()
    await writing


async def test_writers_wait_for_each_other_even_if_they_read_first(database: Database) -> None:
    await AccountStore(database).add(ALICE)

    async def increment() -> None:
        async with database.writing() as connection:
            await AccountStore(database).alone()
            before = (await connection.execute(text("SELECT created_at FROM accounts"))).scalar_one()
            await asyncio.sleep(0)
            await connection.execute(text("UPDATE accounts SET created_at = :after"), {"after": before + 1})

    await asyncio.gather(*(increment() for _ in range(8)))
    stored = await AccountStore(database).named("alice")
    assert stored is not None
    assert stored.created_at == ALICE.created_at + 8


async def test_a_name_can_be_taken_once(database: Database) -> None:
    await AccountStore(database).add(ALICE)
    with pytest.raises(NameTaken, match="alice"):
        await AccountStore(database).add(Account("user_2", "alice", "hash", Role.USER, disabled=False, created_at=1))


async def test_a_session_without_an_account_cannot_be_stored(database: Database) -> None:
    session = Session("sess_1", "user_nobody", created_at=0, last_used_at=0, expires_at=10)
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        await SessionStore(database).add(session, new_token(Kind.SESSION))


async def test_a_hash_that_changed_meanwhile_is_not_replaced(database: Database) -> None:
    store = AccountStore(database)
    await store.add(ALICE)
    await store.replace_hash(ALICE, "changed by the user")
    await store.replace_hash(ALICE, "renewed from the old one")
    stored = await store.named("alice")
    assert stored is not None
    assert stored.password_hash == "changed by the user"


@on_sqlite
async def test_no_token_is_in_the_database_file(database_url: str, tmp_path: Path) -> None:
    session_token, key_token = new_token(Kind.SESSION), new_token(Kind.API_KEY)
    async with opened(database_url) as database:
        await AccountStore(database).add(ALICE)
        await SessionStore(database).add(Session("sess_1", "user_1", 0, 0, 10), session_token)
        await ApiKeyStore(database).add(ApiKey("key_1", "user_1", "laptop", Scope.CHAT, 0), key_token)
    files = (tmp_path / "auth.db").read_bytes()
    assert b"key_1" in files
    assert session_token[3:].encode() not in files
    assert key_token[3:].encode() not in files


async def test_sessions_that_ended_are_swept_when_one_is_opened(database: Database) -> None:
    await AccountStore(database).add(ALICE)
    store = SessionStore(database)
    await store.add(Session("sess_1", "user_1", created_at=0, last_used_at=0, expires_at=10), new_token(Kind.SESSION))
    await store.add(Session("sess_2", "user_1", created_at=10, last_used_at=10, expires_at=20), new_token(Kind.SESSION))
    assert [session.id for session in await store.of_account("user_1")] == ["sess_2"]


async def test_what_happens_inside_one_transaction_happens_together_or_not_at_all(stores: Stores) -> None:
    await stores.accounts.add(ALICE)
    bob = Account("user_2", "bob", "hash", Role.USER, disabled=False, created_at=1)

    async def add_both() -> None:
        async with stores.database.writing():
            await stores.accounts.add(bob)
            assert await stores.accounts.named("bob") == bob
            await stores.accounts.add(ALICE)

    with pytest.raises(NameTaken):
        await add_both()
    assert [account.name for account in await stores.accounts.all()] == ["alice"]


async def test_a_link_is_taken_by_one_of_many_who_try_at_once(stores: Stores) -> None:
    token = new_token(Kind.INVITE)
    await stores.links.add(Link("invite_1", Kind.INVITE, None, COMMAND_LINE.id, created_at=0, expires_at=10), token)
    taken = await asyncio.gather(*(stores.links.take(token, now=5) for _ in range(8)))
    assert len([link for link in taken if link]) == 1
    assert await stores.links.take(token, now=5) is None


async def test_a_link_that_has_expired_cannot_be_taken(stores: Stores) -> None:
    token = new_token(Kind.INVITE)
    await stores.links.add(Link("invite_1", Kind.INVITE, None, COMMAND_LINE.id, created_at=0, expires_at=10), token)
    assert await stores.links.take(token, now=10) is None
    assert await stores.links.all(Kind.INVITE, now=10) == []


async def test_with_an_account_goes_everything_that_was_its_own(stores: Stores) -> None:
    await stores.accounts.add(ALICE)
    await stores.sessions.add(Session("sess_1", "user_1", 0, 0, 10), new_token(Kind.SESSION))
    await stores.api_keys.add(ApiKey("key_1", "user_1", "laptop", Scope.CHAT, 0), new_token(Kind.API_KEY))
    ticket = new_token(Kind.TICKET)
    await stores.tickets.add(Ticket("user_1", "c" * 64, 10), ticket, now=0)
    await stores.identities.add("https://id.example.org", "alice", "user_1", now=0)
    await stores.accounts.remove("user_1")
    assert await stores.sessions.of_account("user_1") == []
    assert await stores.api_keys.of_account("user_1") == []
    assert await stores.tickets.take(ticket, now=1) is None
    assert await stores.identities.account_of("https://id.example.org", "alice") is None


async def test_the_audit_log_keeps_an_entry_as_long_as_it_should(database: Database) -> None:
    audit = AuditStore(database, retention_seconds=100)
    for at in [0, 50, 99]:
        await audit.add(Entry(at, "user_1", Action.LOGGED_IN, "sess_1", "192.0.2.1"))
    assert [entry.at for entry in await audit.page(10, None, now=99)] == [99, 50, 0]
    assert [entry.at for entry in await audit.page(10, None, now=100)] == [99, 50]
    await audit.add(Entry(160, "user_1", Action.LOGGED_OUT, "sess_1", "192.0.2.1"))
    assert [entry.at for entry in await audit.page(10, None, now=0)] == [160, 99]


async def test_the_audit_log_is_read_in_pages_the_newest_first(database: Database) -> None:
    audit = AuditStore(database, retention_seconds=100)
    for at in range(5):
        await audit.add(Entry(at, None, Action.LOGIN_REFUSED, None, "192.0.2.1"))
    first = await audit.page(3, None, now=5)
    second = await audit.page(3, first[-1].id, now=5)
    assert [entry.at for entry in [*first, *second]] == [4, 3, 2, 1, 0]


async def test_a_failed_statement_does_not_carry_its_parameters(database: Database) -> None:
    with pytest.raises((StoreUnavailable, ProgrammingError)) as failure:
        async with database.reading() as connection:
            await connection.execute(text("SELECT :secret FROM nosuch"), {"secret": "canary"})
    assert "nosuch" in str(failure.value.__cause__)
    assert "canary" not in str(failure.value.__cause__)
    assert "canary" not in str(failure.value)
