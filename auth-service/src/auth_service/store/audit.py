from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import delete, insert, select

from auth_service.audit import Action, Entry
from auth_service.store.database import Database
from auth_service.store.tables import audit


class AuditStore:
    """`add` is called inside the transaction it records: both are committed or neither is."""

    def __init__(self, database: Database, retention_seconds: int) -> None:
        self._database: Final = database
        self._retention_seconds: Final = retention_seconds

    async def add(self, entry: Entry) -> None:
        row: dict[str, Any] = asdict(entry)
        del row["id"]
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(audit).where(audit.c.at <= entry.at - self._retention_seconds))
            await connection.execute(insert(audit).values(row))

    async def list_page(self, limit: int, before: int | None, now: int) -> list[Entry]:
        """Returns the newest first; `before` is the id of an entry."""
        query = select(audit).where(audit.c.at > now - self._retention_seconds).order_by(audit.c.id.desc()).limit(limit)
        if before is not None:
            query = query.where(audit.c.id < before)
        async with self._database.read_transaction() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [Entry(**{**row, "action": Action(row["action"])}) for row in rows]
