"""Tests of auth_service.store.migration, store.sqlite and auth_service.migrations."""

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from auth_service import migrations
from auth_service.accounts import Account, Role
from auth_service.errors import StoreUnavailable
from auth_service.store.database import Database
from auth_service.store.migration import migrate, open_database
from auth_service.store.stores import Stores
from tests.auth_service.conftest import sqlite_only
from tests.auth_service.postgresql import PostgreSQL

ALICE = Account("user_1", "alice", "hash", Role.USER, disabled=False, created_at=100)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without a schema."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    postgres: PostgreSQL = request.getfixturevalue("postgres")
    postgres.run("DROP DATABASE IF EXISTS empty WITH (FORCE)")
    postgres.run("CREATE DATABASE empty")
    return postgres.url("empty")


def revisions() -> list[str]:
    """Returns the oldest first."""
    config = Config()
    config.set_main_option("script_location", "auth_service:migrations")
    return [step.revision for step in reversed(list(ScriptDirectory.from_config(config).walk_revisions()))]


async def migrate_to(url: str, revision: str) -> None:
    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "auth_service:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    database = Database(url)
    async with database.write_transaction() as connection:
        await connection.run_sync(upgrade)
    await database.close()


def test_migrations_are_numbered_consecutively_and_have_no_downgrade() -> None:
    found = revisions()
    assert found == [f"{number:04}" for number in range(1, len(found) + 1)]
    folder = Path(migrations.__path__[0]) / "versions"
    assert all("def downgrade" not in file.read_text() for file in folder.glob("*.py"))


async def test_migrating_again_keeps_the_data(empty_url: str) -> None:
    async with open_database(empty_url) as database:
        await Stores.from_database(database).accounts.add(ALICE)
    await migrate(empty_url)
    async with open_database(empty_url) as database:
        assert await Stores.from_database(database).accounts.get_by_name("alice") == ALICE


async def test_data_of_the_first_revision_survives_all_later_migrations(empty_url: str) -> None:
    await migrate_to(empty_url, "0001")
    database = Database(empty_url)
    async with database.write_transaction() as connection:
        await connection.execute(text("INSERT INTO accounts VALUES ('user_1', 'alice', 'hash', 'admin', false, 100)"))
        await connection.execute(text("INSERT INTO accounts VALUES ('user_2', 'bob', 'hash', 'user', true, 100)"))
        await connection.execute(text("INSERT INTO sessions VALUES ('sess_1', 'd1', 'user_1', 1, 2, 3)"))
        await connection.execute(
            text("INSERT INTO api_keys VALUES ('key_1', 'd2', 'user_1', 'laptop', 'chat', 1, NULL, NULL)")
        )
    await database.close()
    async with open_database(empty_url) as migrated:
        stores = Stores.from_database(migrated)
        alice, bob = await stores.accounts.list_all()
        assert (alice.role, alice.disabled, bob.role, bob.disabled) == (Role.ADMIN, False, Role.USER, True)
        # Migrated accounts get distinct credentials, which identify the sockets opened with each password.
        assert alice.password_credential != bob.password_credential
        assert len(alice.password_credential or "") == 64
        assert [session.id for session in await stores.sessions.list_by_account("user_1")] == ["sess_1"]
        assert [key.id for key in await stores.api_keys.list_by_account("user_1")] == ["key_1"]


async def test_concurrent_starts_on_an_empty_database_all_succeed(empty_url: str) -> None:
    # Each waits for a line on standard input, so that all start within the same millisecond.
    program = f"""
import asyncio, sys
from auth_service.store.migration import migrate
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
asyncio.run(migrate({empty_url!r}))
"""
    pipe = asyncio.subprocess.PIPE
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe, stderr=pipe)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    ends = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 3, ends
    async with open_database(empty_url) as database:
        await Stores.from_database(database).accounts.add(ALICE)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite+aiosqlite:////nowhere/auth.db", "unable to open"),
        ("sqlite+nosuchdriver:////tmp/x.db", "nosuchdriver"),
        ("not a url", "parse"),
        ("postgresql+asyncpg://parley@127.0.0.1:1/auth", "connect call failed"),
    ],
)
async def test_a_database_that_cannot_be_opened_is_reported_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(StoreUnavailable) as failure:
        await migrate(url)
    assert reason in failure.value.reason.lower()


async def test_a_missing_postgresql_database_is_reported(postgres: PostgreSQL) -> None:
    with pytest.raises(StoreUnavailable, match="is unavailable") as failure:
        await migrate(postgres.url("nosuch"))
    assert '"nosuch" does not exist' in failure.value.reason


@sqlite_only
async def test_a_file_that_is_not_a_database_is_not_changed(database_url: str, tmp_path: Path) -> None:
    content = b"Dear Alice, " * 1000
    (tmp_path / "auth.db").write_bytes(content)
    with pytest.raises(StoreUnavailable) as failure:
        await migrate(database_url)
    assert failure.value.reason == "file is not a database"
    assert (tmp_path / "auth.db").read_bytes() == content


@sqlite_only
async def test_the_file_uses_a_write_ahead_log(database_url: str, tmp_path: Path) -> None:
    await migrate(database_url)
    with closing(sqlite3.connect(tmp_path / "auth.db")) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
