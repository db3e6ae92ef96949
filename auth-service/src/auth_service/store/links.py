from dataclasses import asdict
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select

from auth_service.accounts import Role
from auth_service.audit import COMMAND_LINE
from auth_service.store.database import Database
from auth_service.store.tables import accounts, links
from auth_service.tokens import Link, TokenKind, digest

_COLUMNS: Final = [column for column in links.c if column.name != "token_digest"]


class LinkStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, link: Link, token: str) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(links).where(links.c.expires_at <= link.created_at))
            await connection.execute(insert(links).values(asdict(link) | {"token_digest": digest(token)}))

    async def get_by_token(self, token: str, now: int) -> Link | None:
        valid = (links.c.token_digest == digest(token)) & _is_valid(now)
        async with self._database.read_transaction() as connection:
            row = (await connection.execute(select(*_COLUMNS).where(valid))).mappings().one_or_none()
        return _link(row) if row else None

    async def redeem(self, token: str, now: int) -> Link | None:
        """Exactly one of several concurrent calls returns the link."""
        valid = (links.c.token_digest == digest(token)) & _is_valid(now)
        async with self._database.write_transaction() as connection:
            redeemed = await connection.execute(delete(links).where(valid).returning(*_COLUMNS))
            row = redeemed.mappings().one_or_none()
        return _link(row) if row else None

    async def list_valid(self, kind: TokenKind, now: int) -> list[Link]:
        valid = (links.c.kind == kind) & _is_valid(now)
        query = select(*_COLUMNS).where(valid).order_by(links.c.created_at.desc(), links.c.id)
        async with self._database.read_transaction() as connection:
            return [_link(row) for row in (await connection.execute(query)).mappings()]

    async def remove(self, kind: TokenKind, link_id: str) -> bool:
        found = (links.c.kind == kind) & (links.c.id == link_id)
        async with self._database.write_transaction() as connection:
            return bool((await connection.execute(delete(links).where(found))).rowcount)

    async def remove_by_account(self, account_id: str) -> None:
        """Invalidates the resets of an account."""
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(links).where(links.c.account_id == account_id))


def _is_valid(now: int) -> ColumnElement[bool]:
    """A link becomes invalid when its creator is deleted, disabled or no longer an administrator."""
    administrators = select(accounts.c.id).where(accounts.c.role == Role.ADMIN, accounts.c.disabled.is_(False))
    authorized = (links.c.created_by == COMMAND_LINE.id) | links.c.created_by.in_(administrators)
    return (links.c.expires_at > now) & authorized


def _link(row: RowMapping) -> Link:
    return Link(**{**row, "kind": TokenKind(row["kind"])})
