from dataclasses import asdict
from typing import Final

from sqlalchemy import delete, insert

from auth_service.store.database import Database
from auth_service.store.tables import tickets
from auth_service.tokens import Ticket, digest


class TicketStore:
    def __init__(self, database: Database) -> None:
        self._database: Final = database

    async def add(self, ticket: Ticket, token: str, now: int) -> None:
        async with self._database.write_transaction() as connection:
            await connection.execute(delete(tickets).where(tickets.c.expires_at <= now))
            await connection.execute(insert(tickets).values(asdict(ticket) | {"token_digest": digest(token)}))

    async def redeem(self, token: str, now: int) -> Ticket | None:
        """Exactly one of several concurrent calls, on any replica, returns the ticket: a row is deleted only once."""
        valid = (tickets.c.token_digest == digest(token)) & (tickets.c.expires_at > now)
        columns = (tickets.c.account_id, tickets.c.credential, tickets.c.expires_at)
        async with self._database.write_transaction() as connection:
            row = (await connection.execute(delete(tickets).where(valid).returning(*columns))).mappings().one_or_none()
        return Ticket(**row) if row else None
