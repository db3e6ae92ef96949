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

# A server that is silent is answered for within this: the gateway waits two seconds for an introspection.
_CONNECT_SECONDS: Final = 1.5
_STATEMENT_SECONDS: Final = 2.0


class Database:
    """Transactions on one engine. A driver that fails leaves as StoreUnavailable, a constraint as IntegrityError."""

    def __init__(self, url: str, *, statement_seconds: float = _STATEMENT_SECONDS) -> None:
        self._engine = _engine(url, statement_seconds)
        self._writing_engine = self._engine.execution_options(writes=True)
        self._open: ContextVar[AsyncConnection | None] = ContextVar("open", default=None)
        if self._engine.dialect.name == "sqlite":
            sqlite.prepare(self._engine)

    async def prepare(self) -> None:
        if self._engine.dialect.name == "sqlite":
            with _failures_translated():
                await sqlite.use_write_ahead_log(self._engine)

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        if outer := self._open.get():
            yield outer
            return
        with _failures_translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """All that happens inside, in whichever store, happens or does not happen together: an inner one, or a reading
        of the same task, is part of the outer one."""
        if outer := self._open.get():
            yield outer
            return
        with _failures_translated():
            async with self._writing_engine.begin() as connection:
                token = self._open.set(connection)
                try:
                    yield connection
                finally:
                    self._open.reset(token)

    async def ping(self) -> None:
        """Reads what every migrated database has. Raises StoreUnavailable."""
        async with self.reading() as connection:
            # Not SELECT 1: SQLite answers that without looking at the file.
            await connection.execute(text("SELECT version_num FROM alembic_version"))

    async def close(self) -> None:
        await self._engine.dispose()


def _engine(url: str, statement_seconds: float) -> AsyncEngine:
    try:
        more: Mapping[str, Any] = {}
        if make_url(url).get_backend_name() == "postgresql":
            timeouts = {"timeout": _CONNECT_SECONDS, "command_timeout": statement_seconds}
            more = {"connect_args": timeouts, "pool_timeout": _CONNECT_SECONDS}
        # A failed statement would otherwise carry its parameters, password hashes among them, into the log.
        return create_async_engine(url, hide_parameters=True, pool_pre_ping=True, **more)
    except (exc.ArgumentError, exc.InvalidRequestError, ModuleNotFoundError) as failure:
        raise StoreUnavailable(str(failure)) from failure


@contextmanager
def _failures_translated() -> Generator[None]:
    try:
        yield
    except (exc.IntegrityError, exc.ProgrammingError, exc.DataError):
        raise
    except exc.DBAPIError as failure:
        raise StoreUnavailable(str(failure.orig)) from failure
    # The second line is what asyncpg says while it connects, before SQLAlchemy translates.
    except (exc.TimeoutError, sqlite3.Error, OSError) as failure:
        raise StoreUnavailable(str(failure)) from failure
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as failure:
        raise StoreUnavailable(str(failure) or "it does not answer in time") from failure
