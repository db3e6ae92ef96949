from typing import Final

from sqlalchemy import delete, insert, select, update

from auth_service.store.database import Database
from auth_service.store.tables import device_cookies
from auth_service.tokens import digest


class DeviceCookieStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def get_account_id(self, token: str, now: int) -> str | None:
        valid = (device_cookies.c.token_digest == digest(token)) & (device_cookies.c.expires_at > now)
        async with self._database.read_transaction() as connection:
            found: str | None = (await connection.execute(select(device_cookies.c.account_id).where(valid))).scalar()
        return found

    async def add(self, account_id: str, token: str, now: int, expires_at: int, max_per_account: int) -> None:
        """Also removes expired device cookies, and the account's oldest ones above `max_per_account`."""
        row = {"token_digest": digest(token), "account_id": account_id, "expires_at": expires_at}
        oldest = (
            select(device_cookies.c.token_digest)
            .where(device_cookies.c.account_id == account_id)
            .order_by(device_cookies.c.expires_at.desc(), device_cookies.c.token_digest)
            .offset(max_per_account - 1)
        )
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(device_cookies).where(device_cookies.c.expires_at <= now))
            await connection.execute(delete(device_cookies).where(device_cookies.c.token_digest.in_(oldest)))
            await connection.execute(insert(device_cookies).values(row))

    async def renew(self, token: str, expires_at: int) -> None:
        found = device_cookies.c.token_digest == digest(token)
        async with self._database.write_transaction() as connection:
            await connection.execute(update(device_cookies).where(found).values(expires_at=expires_at))

    async def remove_by_account(self, account_id: str) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(device_cookies).where(device_cookies.c.account_id == account_id))
