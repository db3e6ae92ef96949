from dataclasses import asdict
from typing import Final

from sqlalchemy import insert, select, update

from auth_service.store.database import Database
from auth_service.store.tables import api_keys
from auth_service.tokens import ApiKey, Scope, digest

_COLUMNS: Final = [column for column in api_keys.c if column.name != "token_digest"]


class ApiKeyStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, key: ApiKey, token: str) -> None:
        async with self._database.writing() as connection:
            await connection.execute(insert(api_keys).values(asdict(key) | {"token_digest": digest(token)}))

    async def of_token(self, token: str) -> ApiKey | None:
        query = select(*_COLUMNS).where(api_keys.c.token_digest == digest(token))
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return ApiKey(**{**row, "scope": Scope(row["scope"])}) if row else None

    async def used(self, key: ApiKey, now: int) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(last_used_at=now))
