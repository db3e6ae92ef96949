from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, insert, select, update

from auth_service.store.database import Database
from auth_service.store.tables import sessions
from auth_service.tokens import Session, digest

_COLUMNS: Final = [column.label("credential") if column.name == "token_digest" else column for column in sessions.c]


class SessionStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, session: Session, token: str) -> None:
        row: dict[str, Any] = asdict(session) | {"token_digest": digest(token)}
        del row["credential"]
        async with self._database.write_transaction() as connection:
            # Expired sessions are deleted here, so no periodic job is needed.
            await connection.execute(delete(sessions).where(sessions.c.expires_at <= session.created_at))
            await connection.execute(insert(sessions).values(row))

    async def get_by_credential(self, credential: str) -> Session | None:
        found = await self._select(sessions.c.token_digest == credential)
        return found[0] if found else None

    async def list_by_account(self, account_id: str) -> list[Session]:
        """Returns the most recently used first."""
        return await self._select(sessions.c.account_id == account_id)

    async def touch(self, session: Session, now: int) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(update(sessions).where(sessions.c.id == session.id).values(last_used_at=now))

    async def remove(self, account_id: str, session_id: str) -> Session | None:
        """Returns the removed session; None if the account has no such session."""
        return await self._delete(sessions.c.account_id == account_id, sessions.c.id == session_id)

    async def remove_by_credential(self, credential: str) -> Session | None:
        return await self._delete(sessions.c.token_digest == credential)

    async def _delete(self, *conditions: ColumnElement[bool]) -> Session | None:
        async with self._database.write_transaction() as connection:
            removed = await connection.execute(delete(sessions).where(*conditions).returning(*_COLUMNS))
            row = removed.mappings().one_or_none()
        return Session(**row) if row else None

    async def remove_others(self, account_id: str, kept_id: str | None) -> list[Session]:
        """Returns the removed sessions; None as `kept_id` removes all."""
        others = delete(sessions).where(sessions.c.account_id == account_id)
        if kept_id is not None:
            others = others.where(sessions.c.id != kept_id)
        async with self._database.write_transaction() as connection:
            return [Session(**row) for row in (await connection.execute(others.returning(*_COLUMNS))).mappings()]

    async def _select(self, condition: ColumnElement[bool]) -> list[Session]:
        query = select(*_COLUMNS).where(condition).order_by(sessions.c.last_used_at.desc(), sessions.c.id)
        async with self._database.read_transaction() as connection:
            return [Session(**row) for row in (await connection.execute(query)).mappings()]
