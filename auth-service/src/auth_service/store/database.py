import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from auth_service.errors import StoreUnavailable
from auth_service.store import sqlite


class Database:
    """Transactions on one engine. A driver that fails leaves as StoreUnavailable, a constraint as IntegrityError."""

    def __init__(self, url: str) -> None:
        try:
            # A failed statement would otherwise carry its parameters, password hashes among them, into the log.
            self._engine = create_async_engine(url, hide_parameters=True, pool_pre_ping=True)
        except (exc.ArgumentError, exc.InvalidRequestError, ModuleNotFoundError) as failure:
            raise StoreUnavailable(str(failure)) from failure
        self._writing_engine = self._engine.execution_options(writes=True)
        if self._engine.dialect.name == "sqlite":
            sqlite.prepare(self._engine)

    async def prepare(self) -> None:
        if self._engine.dialect.name == "sqlite":
            with _failures_translated():
                await sqlite.use_write_ahead_log(self._engine)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        with _failures_translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        with _failures_translated():
            async with self._writing_engine.begin() as connection:
                yield connection

    async def ping(self) -> None:
        """Reads what every migrated database has. Raises StoreUnavailable."""
        async with self.reading() as connection:
            # Not SELECT 1: SQLite answers that without looking at the file.
            await connection.execute(text("SELECT version_num FROM alembic_version"))

    async def close(self) -> None:
        await self._engine.dispose()


@contextmanager
def _failures_translated() -> Generator[None]:
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise
    except exc.DBAPIError as failure:
        raise StoreUnavailable(str(failure.orig)) from failure
    except (exc.TimeoutError, sqlite3.Error, OSError) as failure:
        raise StoreUnavailable(str(failure)) from failure
