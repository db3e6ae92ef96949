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
from auth_service.store.migration import migrate, opened
from auth_service.store.stores import Stores
from tests.auth_service.conftest import on_sqlite
from tests.auth_service.postgresql import PostgreSQL

ALICE = Account("user_1", "alice", "hash", Role.USER, disabled=False, created_at=100)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database without a schema."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    postgres: PostgreSQL = request.getfixturevalue("postgres")
    postgres.run("DROP DATABASE IF EXISTS empty WITH (FORCE)")
    postgres.run("CREATE DATABASE empty")
    return postgres.url("empty")


def revisions() -> list[str]:
    """The oldest first."""
    config = Config()
    config.set_main_option("script_location", "auth_service:migrations")
    return [step.revision for step in reversed(list(ScriptDirectory.from_config(config).walk_revisions()))]


async def at_revision(url: str, revision: str) -> None:
    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", "auth_service:migrations")
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    database = Database(url)
    async with database.writing() as connection:
        await connection.run_sync(upgrade)
    await database.close()


def test_migrations_are_numbered_in_one_line_and_lead_only_forward() -> None:
    found = revisions()
    assert found == [f"{number:04}" for number in range(1, len(found) + 1)]
    folder = Path(migrations.__path__[0]) / "versions"
    assert all("def downgrade" not in file.read_text() for file in folder.glob("*.py"))


async def test_migrating_again_keeps_what_is_stored(empty_url: str) -> None:
    async with opened(empty_url) as database:
        await Stores.on(database).accounts.add(ALICE)
    await migrate(empty_url)
    async with opened(empty_url) as database:
        assert await Stores.on(database).accounts.named("alice") == ALICE


async def test_what_the_first_version_stored_is_there_after_every_later_step(empty_url: str) -> None:
    await at_revision(empty_url, "0001")
    database = Database(empty_url)
    async with database.writing() as connection:
        await connection.execute(text("INSERT INTO accounts VALUES ('user_1', 'alice', 'hash', 'admin', false, 100)"))
        await connection.execute(text("INSERT INTO accounts VALUES ('user_2', 'bob', 'hash', 'user', true, 100)"))
        await connection.execute(text("INSERT INTO sessions VALUES ('sess_1', 'd1', 'user_1', 1, 2, 3)"))
        await connection.execute(
            text("INSERT INTO api_keys VALUES ('key_1', 'd2', 'user_1', 'laptop', 'chat', 1, NULL, NULL)")
        )
    await database.close()
    async with opened(empty_url) as migrated:
        stores = Stores.on(migrated)
        alice, bob = await stores.accounts.all()
        assert (alice.role, alice.disabled, bob.role, bob.disabled) == (Role.ADMIN, False, Role.USER, True)
        # Sockets that were opened with either password can be told apart from now on.
        assert alice.password_credential != bob.password_credential
        assert len(alice.password_credential or "") == 64
        assert [session.id for session in await stores.sessions.of_account("user_1")] == ["sess_1"]
        assert [key.id for key in await stores.api_keys.of_account("user_1")] == ["key_1"]


async def test_processes_that_start_together_on_an_empty_database_all_find_it_migrated(empty_url: str) -> None:
    # Each waits for the line on its standard input, so that they begin within the same millisecond.
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
    async with opened(empty_url) as database:
        await Stores.on(database).accounts.add(ALICE)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite+aiosqlite:////nowhere/auth.db", "unable to open"),
        ("sqlite+nosuchdriver:////tmp/x.db", "nosuchdriver"),
        ("not a url", "parse"),
        ("postgresql+asyncpg://parley@127.0.0.1:1/auth", "connect call failed"),
    ],
)
async def test_a_database_that_cannot_be_opened_says_why(url: str, reason: str) -> None:
    with pytest.raises(StoreUnavailable) as failure:
        await migrate(url)
    assert reason in failure.value.reason.lower()


async def test_a_postgresql_that_lets_nobody_in_says_so(postgres: PostgreSQL) -> None:
    with pytest.raises(StoreUnavailable, match="not available") as failure:
        await migrate(postgres.url("nosuch"))
    assert '"nosuch" does not exist' in failure.value.reason


@on_sqlite
async def test_a_file_that_is_no_database_is_left_as_it_is(database_url: str, tmp_path: Path) -> None:
    letter = b"Dear Alice, " * 1000
    (tmp_path / "auth.db").write_bytes(letter)
    with pytest.raises(StoreUnavailable) as failure:
        await migrate(database_url)
    assert failure.value.reason == "file is not a database"
    assert (tmp_path / "auth.db").read_bytes() == letter


@on_sqlite
async def test_readers_of_the_file_find_a_write_ahead_log(database_url: str, tmp_path: Path) -> None:
    await migrate(database_url)
    with closing(sqlite3.connect(tmp_path / "auth.db")) as file:
        assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
