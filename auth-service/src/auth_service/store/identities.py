from typing import Final

from sqlalchemy import insert, select

from auth_service.store.database import Database
from auth_service.store.tables import identities


class IdentityStore:
    """Links subjects of OpenID providers to accounts."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def get_account_id(self, issuer: str, subject: str) -> str | None:
        query = select(identities.c.account_id).where(identities.c.issuer == issuer, identities.c.subject == subject)
        async with self._database.read_transaction() as connection:
            found: str | None = (await connection.execute(query)).scalar_one_or_none()
        return found

    async def add(self, issuer: str, subject: str, account_id: str, now: int) -> None:
        row = {"issuer": issuer, "subject": subject, "account_id": account_id, "created_at": now}
        async with self._database.write_transaction() as connection:
            await connection.execute(insert(identities).values(row))
