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
            async with self._database.write_transaction() as connection:
                await connection.execute(insert(accounts).values(_row(account)))
        except IntegrityError as exc:
            # Both SQLite and PostgreSQL name the column or its index in the message.
            raise EmailTaken if "email" in str(exc.orig) else NameTaken(account.name) from exc

    async def lock_table(self) -> None:
        """Blocks other changes of accounts until the enclosing transaction ends: to find the first account, or the last
        administrator."""
        async with self._database.write_transaction() as connection:
            # SQLite has only one writer at a time.
            if connection.dialect.name == "postgresql":
                await connection.execute(text("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE"))

    async def is_empty(self) -> bool:
        async with self._database.read_transaction() as connection:
            return (await connection.execute(select(accounts.c.id).limit(1))).first() is None

    async def get_by_name(self, name: str) -> Account | None:
        return await self._one(accounts.c.name == name)

    async def get_by_id(self, account_id: str) -> Account | None:
        return await self._one(accounts.c.id == account_id)

    async def get_by_email(self, email: str) -> Account | None:
        return await self._one(accounts.c.email == email)

    async def get_by_password_credential(self, credential: str) -> Account | None:
        return await self._one(accounts.c.password_credential == credential)

    async def get_for_update(self, account_id: str) -> Account | None:
        """Locks the account until the enclosing transaction ends."""
        # SQLite ignores FOR UPDATE, and has only one writer at a time.
        query = select(accounts).where(accounts.c.id == account_id).with_for_update()
        async with self._database.write_transaction() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return _account(row) if row else None

    async def get_if_unchanged(self, account: Account) -> Account | None:
        """Like `get_for_update`, but returns None if the account was disabled or deleted, or its password was changed,
        since `account` was read: authentication and the change it allows are far apart, since hashing takes 71 ms and
        may be queued."""
        current = await self.get_for_update(account.id)
        if current is None or current.disabled or current.password_credential != account.password_credential:
            return None
        return current

    async def list_all(self) -> list[Account]:
        async with self._database.read_transaction() as connection:
            rows = (await connection.execute(select(accounts).order_by(accounts.c.name))).mappings().all()
        return [_account(row) for row in rows]

    async def list_page(self, limit: int, after: str | None) -> list[Account]:
        """Ordered by name; `after` is an id, and an unknown id starts at the beginning."""
        query = select(accounts).order_by(accounts.c.name).limit(limit)
        if after is not None:
            last = select(accounts.c.name).where(accounts.c.id == after).scalar_subquery()
            query = query.where(accounts.c.name > func.coalesce(last, ""))
        async with self._database.read_transaction() as connection:
            return [_account(row) for row in (await connection.execute(query)).mappings()]

    async def has_other_administrator(self, account_id: str) -> bool:
        """Only counts administrators who can log in, with a password or at an OpenID provider."""
        linked = select(identities.c.account_id)
        can_log_in = (func.length(accounts.c.password_hash) > 0) | accounts.c.id.in_(linked)
        other = and_(
            accounts.c.id != account_id, accounts.c.role == Role.ADMIN, accounts.c.disabled.is_(False), can_log_in
        )
        async with self._database.read_transaction() as connection:
            return (await connection.execute(select(accounts.c.id).where(other).limit(1))).first() is not None

    async def replace_hash(self, account: Account, password_hash: str) -> None:
        """Does nothing if the hash has changed since `account` was read: a new password must not be overwritten."""
        unchanged = (accounts.c.id == account.id) & (accounts.c.password_hash == account.password_hash)
        await self._update(unchanged, password_hash=password_hash)

    async def set_password(self, account: Account) -> None:
        """Stores the hash and the credential of `account`."""
        columns = {"password_hash": account.password_hash, "password_credential": account.password_credential}
        await self._update(accounts.c.id == account.id, **columns)

    async def update(self, account: Account) -> None:
        """Stores the role, state, e-mail address and limits of `account`. Raises EmailTaken."""
        columns = {"role": account.role, "disabled": account.disabled, "email": account.email}
        try:
            await self._update(accounts.c.id == account.id, **columns, **asdict(account.limits))
        except IntegrityError as exc:
            raise EmailTaken from exc

    async def remove(self, account_id: str) -> None:
        """Also removes the rows of other tables that refer to it: their foreign keys cascade."""
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(accounts).where(accounts.c.id == account_id))

    async def _update(self, condition: ColumnElement[bool], **values: object) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(update(accounts).where(condition).values(**values))

    async def _one(self, condition: ColumnElement[bool]) -> Account | None:
        async with self._database.read_transaction() as connection:
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
