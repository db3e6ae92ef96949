"""One-time tickets for pages of another origin, which can send neither a cookie nor a header with a WebSocket."""

import time
from collections.abc import Callable
from typing import Final

from auth_service.accounts import Account
from auth_service.errors import AccountChanged
from auth_service.store.stores import Stores
from auth_service.tokens import Ticket, TokenKind, new_token

LIFETIME_SECONDS: Final = 30


class Tickets:
    def __init__(self, stores: Stores, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._clock = clock

    async def issue(self, account: Account, credential: str) -> tuple[Ticket, str]:
        """Returns a ticket for `credential` and its token. Raises AccountChanged."""
        token, now = new_token(TokenKind.TICKET), int(self._clock())
        ticket = Ticket(account.id, credential, now + LIFETIME_SECONDS)
        async with self._stores.database.write_transaction():
            if await self._stores.accounts.get_if_unchanged(account) is None:
                raise AccountChanged
            await self._stores.tickets.add(ticket, token, now)
        return ticket, token

    async def redeem(self, token: str) -> Ticket | None:
        """Succeeds once; later calls, also on other replicas, return None."""
        return await self._stores.tickets.redeem(token, int(self._clock()))
