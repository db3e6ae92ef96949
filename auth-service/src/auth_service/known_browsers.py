"""Browsers in which an account's password was right before: its owner's, in all likelihood, wherever they are.

A device cookie: https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies. It lets nobody
in; it only gives guesses a line of their own (see throttle).
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auth_service.accounts import Account
from auth_service.errors import StoreUnavailable
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, digest, kind_of, new_token

LIFETIME_SECONDS: Final = 365 * 86400
# Each is a line of its own to whoever holds it, so there are few.
_MOST_OF_A_USER: Final = 20


class KnownBrowsers:
    def __init__(self, stores: Stores, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._clock = clock

    async def known(self, name: str, token: str | None) -> str | None:
        """The digest of `token`, if it is a browser's that the user `name` has logged in with."""
        if token is None or kind_of(token) is not Kind.BROWSER:
            return None
        account_id = await self._stores.known_browsers.account_of(token, int(self._clock()))
        account = await self._stores.accounts.with_id(account_id) if account_id else None
        return digest(token) if account and account.name == name else None

    async def remember(self, account: Account, token: str | None) -> str | None:
        """What the browser is to keep: its token, or a new one if that was not this account's; another account's is
        not taken over, for whoever used this browser before may have kept a copy. None when it cannot be remembered,
        which is no reason to refuse a log-in."""
        known, now = await self.known(account.name, token), int(self._clock())
        with suppress(StoreUnavailable):
            if known and token:
                await self._stores.known_browsers.renew(token, now + LIFETIME_SECONDS)
                return token
            return await self._add(account, now)
        return None

    async def _add(self, account: Account, now: int) -> str | None:
        token = new_token(Kind.BROWSER)
        async with self._stores.database.writing():
            if await self._stores.accounts.unchanged(account) is None:
                return None
            await self._stores.known_browsers.add(account.id, token, now, now + LIFETIME_SECONDS, _MOST_OF_A_USER)
        return token
