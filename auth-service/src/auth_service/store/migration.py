from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, text

from auth_service.errors import StoreUnavailable
from auth_service.store.database import Database

# Any number, as long as every auth-service of one PostgreSQL takes the same.
_ADVISORY_LOCK: Final = 0x7061726C6579
# A step may rewrite a large table, and another process may be at it first.
_LONGEST_SECONDS: Final = 600.0


@asynccontextmanager
async def opened(url: str) -> AsyncGenerator[Database]:
    """The database at the newest revision of the schema, closed at the end."""
    await migrate(url)
    database = Database(url)
    try:
        yield database
    finally:
        await database.close()


async def migrate(url: str) -> None:
    database = Database(url, statement_seconds=_LONGEST_SECONDS)
    try:
        await database.prepare()
        await _upgrade(database)
    finally:
        await database.close()


async def _upgrade(database: Database) -> None:
    # One transaction: a second process that starts now waits for it, and then has nothing to do.
    async with database.writing() as connection:
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
        # The one thing it refuses here: a revision that this version does not have.
        raise StoreUnavailable(
            "a newer version has changed its schema; run that version or a later one, or go back to a copy of the "
            "database from before"
        ) from failure
