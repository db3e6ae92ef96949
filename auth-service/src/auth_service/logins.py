import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auth_service.accounts import Account, canonical_name
from auth_service.audit import Action, Actor, entry
from auth_service.errors import HashingBusy, InvalidCredentials, StoreUnavailable, UnsuitableName, WrongPassword
from auth_service.hashing import HashingPool
from auth_service.known_browsers import KnownBrowsers
from auth_service.passwords import normalised
from auth_service.store.stores import Stores
from auth_service.throttle import Throttle

log: Final = logging.getLogger(__name__)


class Logins:
    """Whose name and password these are. Every way to be wrong costs the same work and gets the same answer."""

    def __init__(
        self, stores: Stores, hashing: HashingPool, throttle: Throttle, clock: Callable[[], float] = time.time
    ) -> None:
        self._stores = stores
        self._hashing = hashing
        self._throttle = throttle
        self._browsers = KnownBrowsers(stores, clock)
        self._clock = clock

    async def verify(self, name: str, password: str, address: str, browser: str | None = None) -> Account:
        """`browser` is the token of the one that asks, if it has one.

        Raises InvalidCredentials, UnsuitablePassword (too long to be one), TooManyAttempts, HashingBusy.
        """
        password = normalised(password)
        name = _name_or_nobody(name)
        known = await self._browsers.known(name, browser)
        async with self._throttle.attempt(name, address, known) as attempt:
            account = await self._stores.accounts.named(name)
            matches = await self._hashing.verify(account.password_hash if account else None, password)
            if account is None or not matches or account.disabled:
                attempt.failed()
                await self._note_refusal(account.id if account else None, address)
                raise InvalidCredentials
            attempt.succeeded()
        await self._renew_hash(account, password)
        return account

    async def confirm(self, account: Account, password: str, address: str, browser: str | None = None) -> None:
        """That whoever holds a session of this account knows the password too. Raises WrongPassword, and the rest."""
        try:
            await self.verify(account.name, password, address, browser)
        except InvalidCredentials:
            raise WrongPassword from None

    async def _note_refusal(self, account_id: str | None, address: str) -> None:
        # Never the name that was typed: people type their password into the wrong field.
        log.info("login refused", extra={"account": account_id, "address": address})
        refusal = entry(Actor(None, address), Action.LOGIN_REFUSED, account_id, int(self._clock()))
        # A refusal that cannot be noted is one all the same.
        with suppress(StoreUnavailable):
            await self._stores.audit.add(refusal)

    async def _renew_hash(self, account: Account, password: str) -> None:
        if not self._hashing.outdated(account.password_hash):
            return
        # The next log-in does as well as this one.
        with suppress(HashingBusy, StoreUnavailable):
            await self._stores.accounts.replace_hash(account, await self._hashing.hash(password))


def _name_or_nobody(name: str) -> str:
    # The empty name is nobody's: what cannot be a name goes the same way as a user who does not exist.
    try:
        return canonical_name(name)
    except UnsuitableName:
        return ""
