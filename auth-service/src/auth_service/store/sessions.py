from dataclasses import asdict
from typing import Final

from sqlalchemy import delete, insert, select, update

from auth_service.store.database import Database
from auth_service.store.tables import sessions
from auth_service.tokens import Session, digest

_COLUMNS: Final = [column for column in sessions.c if column.name != "token_digest"]


class SessionStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, session: Session, token: str) -> None:
        async with self._database.writing() as connection:
            # Here, and not by a clock: the table stays as small as its use.
            await connection.execute(delete(sessions).where(sessions.c.expires_at <= session.created_at))
            await connection.execute(insert(sessions).values(asdict(session) | {"token_digest": digest(token)}))

    async def of_token(self, token: str) -> Session | None:
        query = select(*_COLUMNS).where(sessions.c.token_digest == digest(token))
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return Session(**row) if row else None

    async def used(self, session: Session, now: int) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(sessions).where(sessions.c.id == session.id).values(last_used_at=now))

    async def remove(self, token: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(sessions).where(sessions.c.token_digest == digest(token)))
