import sqlite3
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final

import asyncpg
from sqlalchemy import exc, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from auth_service.errors import StoreUnavailable
from auth_service.store import sqlite

# An unresponsive database must fail in time: the gateway waits two seconds for an introspection.
_CONNECT_TIMEOUT_SECONDS: Final = 1.5
_STATEMENT_TIMEOUT_SECONDS: Final = 2.0


class Database:
    """Transactions on one engine. Errors of the driver are raised as StoreUnavailable, violated constraints as
    IntegrityError."""

    def __init__(self, url: str, *, statement_timeout_seconds: float = _STATEMENT_TIMEOUT_SECONDS) -> None:
        self._engine = _engine(url, statement_timeout_seconds)
        self._writing_engine = self._engine.execution_options(writes=True)
        self._current: ContextVar[AsyncConnection | None] = ContextVar("current_transaction", default=None)
        if self._engine.dialect.name == "sqlite":
            sqlite.prepare(self._engine)

    async def prepare(self) -> None:
        if self._engine.dialect.name == "sqlite":
            with _translate_driver_errors():
                await sqlite.use_write_ahead_log(self._engine)

    @asynccontextmanager
    async def read_transaction(self) -> AsyncGenerator[AsyncConnection]:
        if outer := self._current.get():
            yield outer
            return
        with _translate_driver_errors():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write_transaction(self) -> AsyncGenerator[AsyncConnection]:
        """Commits at the end, rolls back after an exception. Inner transactions of the same task, in any store, join
        this one."""
        if outer := self._current.get():
            yield outer
            return
        with _translate_driver_errors():
            async with self._writing_engine.begin() as connection:
                token = self._current.set(connection)
                try:
                    yield connection
                finally:
                    self._current.reset(token)

    async def ping(self) -> None:
        """Raises StoreUnavailable, also if the database has never been migrated."""
        async with self.read_transaction() as connection:
            # Not SELECT 1, which SQLite evaluates without opening the file.
            await connection.execute(text("SELECT version_num FROM alembic_version"))

    async def close(self) -> None:
        await self._engine.dispose()


def _engine(url: str, statement_timeout_seconds: float) -> AsyncEngine:
    try:
        options: Mapping[str, Any] = {}
        if make_url(url).get_backend_name() == "postgresql":
            timeouts = {"timeout": _CONNECT_TIMEOUT_SECONDS, "command_timeout": statement_timeout_seconds}
            options = {"connect_args": timeouts, "pool_timeout": _CONNECT_TIMEOUT_SECONDS}
        # Without hide_parameters, errors would contain the statement's parameters, such as password hashes.
        return create_async_engine(url, hide_parameters=True, pool_pre_ping=True, **options)
    except (exc.ArgumentError, exc.InvalidRequestError, ModuleNotFoundError) as failure:
        raise StoreUnavailable(str(failure)) from failure


@contextmanager
def _translate_driver_errors() -> Generator[None]:
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise
    except exc.DBAPIError as failure:
        raise StoreUnavailable(str(failure.orig)) from failure
    # The driver's own exceptions: SQLAlchemy does not translate those that are raised while connecting.
    except (exc.TimeoutError, sqlite3.Error, OSError) as failure:
        raise StoreUnavailable(str(failure)) from failure
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as failure:
        raise StoreUnavailable(str(failure) or "it does not answer in time") from failure
