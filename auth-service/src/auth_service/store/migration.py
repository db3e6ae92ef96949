from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from auth_service.errors import StoreUnavailable
from auth_service.store.database import Database

# An arbitrary constant, shared by all auth-services of one PostgreSQL.
_ADVISORY_LOCK: Final = 0x7061726C6579
# A step may rewrite a large table, and may have to wait for another process that runs it.
_MIGRATION_TIMEOUT_SECONDS: Final = 600.0


@asynccontextmanager
async def open_database(url: str) -> AsyncGenerator[Database]:
    """Migrates the database to the latest schema revision and opens it."""
    await migrate(url)
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


async def migrate(url: str) -> None:
    database = Database(url, statement_timeout_seconds=_MIGRATION_TIMEOUT_SECONDS)
    try:
        await database.prepare()
        await _upgrade(database)
    finally:
        await database.close()


async def _upgrade(database: Database) -> None:
    # One transaction: another process that starts now waits for it and finds nothing to do.
    async with database.write_transaction() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        await connection.run_sync(_run_alembic)


def _run_alembic(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "auth_service:migrations")
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as failure:
        # The only possible cause here: the database has a revision that this version does not know.
        raise StoreUnavailable(
            "a newer version has changed its schema; run that version or a later one, or restore a backup from before "
            "the upgrade"
        ) from failure
