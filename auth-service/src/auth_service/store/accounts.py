from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from auth_service.accounts import Account, Role, UsageLimits
from auth_service.errors import EmailTaken, NameTaken
from auth_service.store.database import Database
from auth_service.store.tables import accounts, identities

_LIMITS: Final = ("messages_per_minute", "concurrent_answers", "tokens_per_day")


class AccountStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, account: Account) -> None:
        """Raises NameTaken, EmailTaken."""
        try:
            async with self._database.writing() as connection:
                await connection.execute(insert(accounts).values(_row(account)))
        except IntegrityError as exc:
            # Both databases name the column or its index in the message.
            raise EmailTaken if "email" in str(exc.orig) else NameTaken(account.name) from exc

    async def alone(self) -> None:
        """Nobody else changes the accounts until the transaction around this ends: for "the first" and "the last"."""
        async with self._database.writing() as connection:
            # SQLite has one writer at a time anyway.
            if connection.dialect.name == "postgresql":
                await connection.execute(text("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE"))

    async def none(self) -> bool:
        async with self._database.reading() as connection:
            return (await connection.execute(select(accounts.c.id).limit(1))).first() is None

    async def named(self, name: str) -> Account | None:
        return await self._one(accounts.c.name == name)

    async def with_id(self, account_id: str) -> Account | None:
        return await self._one(accounts.c.id == account_id)

    async def with_email(self, email: str) -> Account | None:
        return await self._one(accounts.c.email == email)

    async def with_password_credential(self, credential: str) -> Account | None:
        return await self._one(accounts.c.password_credential == credential)

    async def held(self, account_id: str) -> Account | None:
        """As it is, and as it stays until the transaction around this ends."""
        # SQLite has one writer at a time anyway.
        query = select(accounts).where(accounts.c.id == account_id).with_for_update()
        async with self._database.writing() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return _account(row) if row else None

    async def unchanged(self, account: Account) -> Account | None:
        """As `held`, if whoever was let in as `account` would still be: None once it has another password, or is
        disabled or gone. For what is written long after the question: hashing takes 71 ms, and waits in a line."""
        now = await self.held(account.id)
        if now is None or now.disabled or now.password_credential != account.password_credential:
            return None
        return now

    async def all(self) -> list[Account]:
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(accounts).order_by(accounts.c.name))).mappings().all()
        return [_account(row) for row in rows]

    async def page(self, limit: int, after: str | None) -> list[Account]:
        """By name; `after` is an id, and one that is unknown comes before everybody."""
        query = select(accounts).order_by(accounts.c.name).limit(limit)
        if after is not None:
            last = select(accounts.c.name).where(accounts.c.id == after).scalar_subquery()
            query = query.where(accounts.c.name > func.coalesce(last, ""))
        async with self._database.reading() as connection:
            return [_account(row) for row in (await connection.execute(query)).mappings()]

    async def another_administrator(self, account_id: str) -> bool:
        """Who can log in: with a password, or because a provider vouches for them."""
        vouched_for = select(identities.c.account_id)
        usable = (func.length(accounts.c.password_hash) > 0) | accounts.c.id.in_(vouched_for)
        another = and_(
            accounts.c.id != account_id, accounts.c.role == Role.ADMIN, accounts.c.disabled.is_(False), usable
        )
        async with self._database.reading() as connection:
            return (await connection.execute(select(accounts.c.id).where(another).limit(1))).first() is not None

    async def replace_hash(self, account: Account, password_hash: str) -> None:
        """Only if the hash is still the one of `account`: a password changed meanwhile stays changed."""
        unchanged = (accounts.c.id == account.id) & (accounts.c.password_hash == account.password_hash)
        await self._update(unchanged, password_hash=password_hash)

    async def set_password(self, account: Account) -> None:
        """Its hash and its credential as they are in `account`."""
        columns = {"password_hash": account.password_hash, "password_credential": account.password_credential}
        await self._update(accounts.c.id == account.id, **columns)

    async def change(self, account: Account) -> None:
        """Its role, state, e-mail address and limits as they are in `account`. Raises EmailTaken."""
        columns = {"role": account.role, "disabled": account.disabled, "email": account.email}
        try:
            await self._update(accounts.c.id == account.id, **columns, **asdict(account.limits))
        except IntegrityError as exc:
            raise EmailTaken from exc

    async def remove(self, account_id: str) -> None:
        """With its sessions, keys, links, tickets and identities: their foreign keys cascade."""
        async with self._database.writing() as connection:
            await connection.execute(delete(accounts).where(accounts.c.id == account_id))

    async def _update(self, condition: ColumnElement[bool], **values: object) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(accounts).where(condition).values(**values))

    async def _one(self, condition: ColumnElement[bool]) -> Account | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(select(accounts).where(condition))).mappings().one_or_none()
        return _account(row) if row else None


def _row(account: Account) -> dict[str, Any]:
    row: dict[str, Any] = asdict(account)
    row.update(row.pop("limits"))
    return row


def _account(row: RowMapping) -> Account:
    values = dict(row)
    limits = UsageLimits(**{name: values.pop(name) for name in _LIMITS})
    return Account(**{**values, "role": Role(values["role"]), "limits": limits})
