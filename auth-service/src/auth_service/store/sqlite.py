import asyncio
import sqlite3
import time
from contextlib import closing
from typing import Final

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

_BUSY_TIMEOUT_MS: Final = 10_000


def prepare(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # Python's driver begins transactions late, and none for DDL; the listener below begins them instead.
        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlite-transactions
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # If another transaction wrote since, one that reads before it writes fails immediately, regardless of the busy
        # timeout; with BEGIN IMMEDIATE it waits for the write lock. https://sqlite.org/lang_transaction.html
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


async def use_write_ahead_log(engine: AsyncEngine) -> None:
    """Sets the journal mode, which the file keeps, so that readers never wait for a writer. Raises sqlite3.Error.

    Uses the synchronous driver: if the file cannot be opened, aiosqlite's thread may outlive its event loop.
    """
    [filename], options = engine.dialect.create_connect_args(engine.url)
    await asyncio.to_thread(_use_write_ahead_log, filename, uri=bool(options.get("uri")))


def _use_write_ahead_log(filename: str, *, uri: bool) -> None:
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    with closing(sqlite3.connect(filename, uri=uri, timeout=0)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as exc:
                # Of several processes that do this concurrently some fail immediately: the busy timeout does not apply
                # to this pragma (4 of 100 failed with four processes).
                if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return
