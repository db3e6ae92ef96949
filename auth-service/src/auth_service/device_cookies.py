"""Device cookies: tokens of browsers in which a log-in to the account has succeeded before.

https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies. A device cookie authenticates
nobody; it only gives log-in attempts of that browser a throttle counter of their own.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auth_service.accounts import Account
from auth_service.errors import StoreUnavailable
from auth_service.store.stores import Stores
from auth_service.tokens import TokenKind, digest, new_token, token_kind

LIFETIME_SECONDS: Final = 365 * 86400
# Each one is another counter to guess with for an attacker who has stolen it, so the number is limited.
_MAX_PER_USER: Final = 20


class DeviceCookies:
    def __init__(self, stores: Stores, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._clock = clock

    async def recognize(self, name: str, token: str | None) -> str | None:
        """Returns the digest of `token` if it is a device cookie of the user `name`."""
        if token is None or token_kind(token) is not TokenKind.DEVICE:
            return None
        account_id = await self._stores.device_cookies.get_account_id(token, int(self._clock()))
        account = await self._stores.accounts.get_by_id(account_id) if account_id else None
        return digest(token) if account and account.name == name else None

    async def renew_or_issue(self, account: Account, token: str | None) -> str | None:
        """Returns the token the browser must keep: `token`, renewed, if it belongs to this account, otherwise a new
        one. Another account's token is never reused: a previous user of the browser may have copied it. Returns None
        if it cannot be stored, which is no reason to refuse a log-in."""
        recognized, now = await self.recognize(account.name, token), int(self._clock())
        with suppress(StoreUnavailable):
            if recognized and token:
                await self._stores.device_cookies.renew(token, now + LIFETIME_SECONDS)
                return token
            return await self._issue(account, now)
        return None

    async def _issue(self, account: Account, now: int) -> str | None:
        token = new_token(TokenKind.DEVICE)
        async with self._stores.database.write_transaction():
            if await self._stores.accounts.get_if_unchanged(account) is None:
                return None
            await self._stores.device_cookies.add(account.id, token, now, now + LIFETIME_SECONDS, _MAX_PER_USER)
        return token
