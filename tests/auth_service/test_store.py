import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from auth_service.accounts import Account, Role
from auth_service.errors import NameTaken, StoreUnavailable
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.store.database import Database
from auth_service.store.migration import migrate, opened
from auth_service.store.sessions import SessionStore
from auth_service.store.tables import metadata
from auth_service.tokens import ApiKey, Scope, Session, new_api_key, new_session_token

ALICE = Account("user_1", "alice", "hash", Role.USER, disabled=False, created_at=100)


async def test_the_migrated_schema_is_the_one_the_program_declares(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with database.reading() as connection:
        assert await connection.run_sync(differences) == []


def test_the_schema_can_be_created_in_postgresql() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    statements = [str(CreateTable(table).compile(dialect=dialect)) for table in metadata.sorted_tables]
    statements += [
        str(CreateIndex(index).compile(dialect=dialect)) for table in metadata.sorted_tables for index in table.indexes
    ]
    assert "disabled BOOLEAN NOT NULL" in statements[0]
    assert len(statements) == 6


async def test_migrating_again_keeps_what_is_stored(database_url: str) -> None:
    async with opened(database_url) as database:
        await AccountStore(database).add(ALICE)
    await migrate(database_url)
    async with opened(database_url) as database:
        assert await AccountStore(database).named("alice") == ALICE


async def test_processes_that_start_together_on_an_empty_database_all_find_it_migrated(database_url: str) -> None:
    # Each waits for the line on its standard input, so that they begin within the same millisecond.
    program = f"""
import asyncio, sys
from auth_service.store.migration import migrate
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
asyncio.run(migrate({database_url!r}))
"""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    ends = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 4, ends


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    async with database.writing() as writer:
        await writer.execute(text("DELETE FROM accounts"))
        assert await AccountStore(database).all() == []


async def test_writers_wait_for_each_other_even_if_they_read_first(database: Database) -> None:
    await AccountStore(database).add(ALICE)

    async def increment() -> None:
        async with database.writing() as connection:
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
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        await SessionStore(database).add(session, new_session_token())


async def test_a_hash_that_changed_meanwhile_is_not_replaced(database: Database) -> None:
    store = AccountStore(database)
    await store.add(ALICE)
    await store.replace_hash(ALICE, "changed by the user")
    await store.replace_hash(ALICE, "renewed from the old one")
    stored = await store.named("alice")
    assert stored is not None
    assert stored.password_hash == "changed by the user"


async def test_no_token_is_in_the_database_file(database_url: str, tmp_path: Path) -> None:
    session_token, key_token = new_session_token(), new_api_key()
    async with opened(database_url) as database:
        await AccountStore(database).add(ALICE)
        await SessionStore(database).add(Session("sess_1", "user_1", 0, 0, 10), session_token)
        await ApiKeyStore(database).add(ApiKey("key_1", "user_1", "laptop", Scope.CHAT, 0), key_token)
    files = (tmp_path / "auth.db").read_bytes()
    assert b"key_1" in files
    assert session_token[3:].encode() not in files
    assert key_token[3:].encode() not in files


async def test_sessions_that_ended_are_swept_when_one_is_opened(database: Database, tmp_path: Path) -> None:
    await AccountStore(database).add(ALICE)
    store = SessionStore(database)
    await store.add(Session("sess_1", "user_1", created_at=0, last_used_at=0, expires_at=10), new_session_token())
    await store.add(Session("sess_2", "user_1", created_at=10, last_used_at=10, expires_at=20), new_session_token())
    with sqlite3.connect(tmp_path / "auth.db") as file:
        assert file.execute("SELECT id FROM sessions").fetchall() == [("sess_2",)]
    file.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite+aiosqlite:////nowhere/auth.db", "unable to open"),
        ("sqlite+nosuchdriver:////tmp/x.db", "nosuchdriver"),
        ("not a url", "parse"),
    ],
)
async def test_a_database_that_cannot_be_opened_says_why(url: str, reason: str) -> None:
    with pytest.raises(StoreUnavailable) as failure:
        await migrate(url)
    assert reason in failure.value.reason


async def test_a_file_that_is_no_database_is_left_as_it_is(database_url: str, tmp_path: Path) -> None:
    letter = b"Dear Alice, " * 1000
    (tmp_path / "auth.db").write_bytes(letter)
    with pytest.raises(StoreUnavailable) as failure:
        await migrate(database_url)
    assert failure.value.reason == "file is not a database"
    assert (tmp_path / "auth.db").read_bytes() == letter


async def test_a_failed_statement_does_not_carry_its_parameters(database: Database) -> None:
    with pytest.raises(StoreUnavailable) as failure:
        async with database.reading() as connection:
            await connection.execute(text("SELECT :secret FROM nosuch"), {"secret": "canary"})
    assert "no such table: nosuch" in str(failure.value.__cause__)
    assert "canary" not in str(failure.value.__cause__)
