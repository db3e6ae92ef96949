from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update

from auth_service.store.database import Database
from auth_service.store.tables import api_keys
from auth_service.tokens import ApiKey, Scope, digest

_COLUMNS: Final = [column.label("credential") if column.name == "token_digest" else column for column in api_keys.c]


class ApiKeyStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, key: ApiKey, token: str) -> None:
        row: dict[str, Any] = asdict(key) | {"token_digest": digest(token)}
        del row["credential"]
        async with self._database.write_transaction() as connection:
            await connection.execute(insert(api_keys).values(row))

    async def get_by_credential(self, credential: str) -> ApiKey | None:
        keys = await self._select(api_keys.c.token_digest == credential)
        return keys[0] if keys else None

    async def list_by_account(self, account_id: str) -> list[ApiKey]:
        """Returns the newest first."""
        return await self._select(api_keys.c.account_id == account_id)

    async def touch(self, key: ApiKey, now: int) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(last_used_at=now))

    async def remove(self, account_id: str, key_id: str) -> ApiKey | None:
        """Returns the removed key; None if the account has no such key."""
        return await self._delete(api_keys.c.account_id == account_id, api_keys.c.id == key_id)

    async def remove_by_credential(self, credential: str) -> ApiKey | None:
        return await self._delete(api_keys.c.token_digest == credential)

    async def _delete(self, *conditions: ColumnElement[bool]) -> ApiKey | None:
        async with self._database.write_transaction() as connection:
            removed = await connection.execute(delete(api_keys).where(*conditions).returning(*_COLUMNS))
            row = removed.mappings().one_or_none()
        return _key(row) if row else None

    async def _select(self, condition: ColumnElement[bool]) -> list[ApiKey]:
        query = select(*_COLUMNS).where(condition).order_by(api_keys.c.created_at.desc(), api_keys.c.id)
        async with self._database.read_transaction() as connection:
            return [_key(row) for row in (await connection.execute(query)).mappings()]


def _key(row: RowMapping) -> ApiKey:
    return ApiKey(**{**row, "scope": Scope(row["scope"])})
