from dataclasses import asdict
from typing import Final

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select

from auth_service.accounts import Role
from auth_service.audit import COMMAND_LINE
from auth_service.store.database import Database
from auth_service.store.tables import accounts, links
from auth_service.tokens import Kind, Link, digest

_COLUMNS: Final = [column for column in links.c if column.name != "token_digest"]


class LinkStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, link: Link, token: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(links).where(links.c.expires_at <= link.created_at))
            await connection.execute(insert(links).values(asdict(link) | {"token_digest": digest(token)}))

    async def of_token(self, token: str, now: int) -> Link | None:
        valid = (links.c.token_digest == digest(token)) & _good(now)
        async with self._database.reading() as connection:
            row = (await connection.execute(select(*_COLUMNS).where(valid))).mappings().one_or_none()
        return _link(row) if row else None

    async def take(self, token: str, now: int) -> Link | None:
        """Of any number who take it at once, one gets it."""
        valid = (links.c.token_digest == digest(token)) & _good(now)
        async with self._database.writing() as connection:
            taken = await connection.execute(delete(links).where(valid).returning(*_COLUMNS))
            row = taken.mappings().one_or_none()
        return _link(row) if row else None

    async def all(self, kind: Kind, now: int) -> list[Link]:
        valid = (links.c.kind == kind) & _good(now)
        query = select(*_COLUMNS).where(valid).order_by(links.c.created_at.desc(), links.c.id)
        async with self._database.reading() as connection:
            return [_link(row) for row in (await connection.execute(query)).mappings()]

    async def remove(self, kind: Kind, link_id: str) -> bool:
        found = (links.c.kind == kind) & (links.c.id == link_id)
        async with self._database.writing() as connection:
            return bool((await connection.execute(delete(links).where(found))).rowcount)

    async def remove_of_account(self, account_id: str) -> None:
        """A newer link to a new password, or a new password, ends the ones before."""
        async with self._database.writing() as connection:
            await connection.execute(delete(links).where(links.c.account_id == account_id))


def _good(now: int) -> ColumnElement[bool]:
    """A link is worth what its maker's word is: of who is no administrator now, or disabled, or gone, nothing."""
    administrating = select(accounts.c.id).where(accounts.c.role == Role.ADMIN, accounts.c.disabled.is_(False))
    vouched = (links.c.created_by == COMMAND_LINE.id) | links.c.created_by.in_(administrating)
    return (links.c.expires_at > now) & vouched


def _link(row: RowMapping) -> Link:
    return Link(**{**row, "kind": Kind(row["kind"])})
