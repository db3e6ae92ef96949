from dataclasses import asdict
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, insert, select, update
from sqlalchemy.exc import IntegrityError

from auth_service.accounts import Account, Role
from auth_service.errors import NameTaken
from auth_service.store.database import Database
from auth_service.store.tables import accounts


class AccountStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, account: Account) -> None:
        """Raises NameTaken."""
        try:
            async with self._database.writing() as connection:
                await connection.execute(insert(accounts).values(asdict(account)))
        except IntegrityError as exc:
            raise NameTaken(account.name) from exc

    async def named(self, name: str) -> Account | None:
        return await self._one(accounts.c.name == name)

    async def with_id(self, account_id: str) -> Account | None:
        return await self._one(accounts.c.id == account_id)

    async def all(self) -> list[Account]:
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(accounts).order_by(accounts.c.name))).mappings().all()
        return [_account(row) for row in rows]

    async def replace_hash(self, account: Account, password_hash: str) -> None:
        """Only if the hash is still the one of `account`: a password changed meanwhile stays changed."""
        unchanged = (accounts.c.id == account.id) & (accounts.c.password_hash == account.password_hash)
        async with self._database.writing() as connection:
            await connection.execute(update(accounts).where(unchanged).values(password_hash=password_hash))

    async def _one(self, condition: ColumnElement[bool]) -> Account | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(select(accounts).where(condition))).mappings().one_or_none()
        return _account(row) if row else None


def _account(row: RowMapping) -> Account:
    return Account(**{**row, "role": Role(row["role"])})
