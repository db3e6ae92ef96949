"""For a page of another origin, which can neither send a cookie nor a header when it opens a WebSocket."""

import time
from collections.abc import Callable
from typing import Final

from auth_service.accounts import Account
from auth_service.errors import AccountChanged
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, Ticket, new_token

LIFETIME_SECONDS: Final = 30


class Tickets:
    def __init__(self, stores: Stores, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._clock = clock

    async def issue(self, account: Account, credential: str) -> tuple[Ticket, str]:
        """A ticket that stands for `credential`, and the ticket itself. Raises AccountChanged."""
        token, now = new_token(Kind.TICKET), int(self._clock())
        ticket = Ticket(account.id, credential, now + LIFETIME_SECONDS)
        async with self._stores.database.writing():
            if await self._stores.accounts.unchanged(account) is None:
                raise AccountChanged
            await self._stores.tickets.add(ticket, token, now)
        return ticket, token

    async def redeem(self, token: str) -> Ticket | None:
        """Once: whoever comes second, here or at another replica, gets None."""
        return await self._stores.tickets.take(token, int(self._clock()))
