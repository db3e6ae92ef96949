from typing import Final

from sqlalchemy import delete, insert, select

from auth_service.store.database import Database
from auth_service.store.tables import deletions


class DeletionStore:
    """Ids of deleted accounts whose conversations no gateway has confirmed to be deleted yet."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, account_id: str, now: int) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(insert(deletions).values(account_id=account_id, deleted_at=now))

    async def list_oldest(self, limit: int) -> list[tuple[str, int]]:
        query = select(deletions).order_by(deletions.c.deleted_at, deletions.c.account_id).limit(limit)
        async with self._database.read_transaction() as connection:
            return [(row.account_id, row.deleted_at) for row in await connection.execute(query)]

    async def confirm(self, account_id: str) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(deletions).where(deletions.c.account_id == account_id))
