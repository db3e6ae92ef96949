import asyncio
import sqlite3
import time
from contextlib import closing
from typing import Final

from sqlalchemy import Connection, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import ConnectionPoolEntry

_BUSY_MILLISECONDS: Final = 10_000


def prepare(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # Python's driver begins transactions late and not at all for DDL; the listener below begins them instead.
        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlite-transactions
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads before it writes fails at once, whatever the busy timeout, if another wrote in
        # between; taking the write lock first waits instead. https://sqlite.org/lang_transaction.html
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


async def use_write_ahead_log(engine: AsyncEngine) -> None:
    """Once a file, and kept in it: readers then never wait for the writer. Raises sqlite3.Error.

    With the plain driver: after a file that cannot be opened, aiosqlite's thread may outlive its event loop.
    """
    [filename], options = engine.dialect.create_connect_args(engine.url)
    await asyncio.to_thread(_use_write_ahead_log, filename, uri=bool(options.get("uri")))


def _use_write_ahead_log(filename: str, *, uri: bool) -> None:
    give_up_at = time.monotonic() + _BUSY_MILLISECONDS / 1000
    with closing(sqlite3.connect(filename, uri=uri, timeout=0)) as connection:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as exc:
                # Of processes that do this at the same moment some are told so at once: the busy timeout does not
                # cover this pragma (4 of 100 with four processes).
                if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                    raise
                time.sleep(0.01)
            else:
                return
