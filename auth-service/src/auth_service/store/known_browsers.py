from typing import Final

from sqlalchemy import delete, insert, select, update

from auth_service.store.database import Database
from auth_service.store.tables import known_browsers
from auth_service.tokens import digest


class KnownBrowserStore:
    """Which account a browser's own cookie has logged in to before."""

    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def account_of(self, token: str, now: int) -> str | None:
        valid = (known_browsers.c.token_digest == digest(token)) & (known_browsers.c.expires_at > now)
        async with self._database.reading() as connection:
            found: str | None = (await connection.execute(select(known_browsers.c.account_id).where(valid))).scalar()
        return found

    async def add(self, account_id: str, token: str, now: int, expires_at: int, most: int) -> None:
        """And forgets what has expired, and the account's oldest beyond `most`."""
        row = {"token_digest": digest(token), "account_id": account_id, "expires_at": expires_at}
        oldest = (
            select(known_browsers.c.token_digest)
            .where(known_browsers.c.account_id == account_id)
            .order_by(known_browsers.c.expires_at.desc(), known_browsers.c.token_digest)
            .offset(most - 1)
        )
        async with self._database.writing() as connection:
            await connection.execute(delete(known_browsers).where(known_browsers.c.expires_at <= now))
            await connection.execute(delete(known_browsers).where(known_browsers.c.token_digest.in_(oldest)))
            await connection.execute(insert(known_browsers).values(row))

    async def renew(self, token: str, expires_at: int) -> None:
        found = known_browsers.c.token_digest == digest(token)
        async with self._database.writing() as connection:
            await connection.execute(update(known_browsers).where(found).values(expires_at=expires_at))

    async def remove_of_account(self, account_id: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(known_browsers).where(known_browsers.c.account_id == account_id))
