import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auth_service.accounts import Account, canonicalize_name
from auth_service.audit import Action, Actor, new_entry
from auth_service.device_cookies import DeviceCookies
from auth_service.errors import HashingBusy, InvalidCredentials, StoreUnavailable, UnsuitableName, WrongPassword
from auth_service.hashing import HashingPool
from auth_service.passwords import normalize_password
from auth_service.store.stores import Stores
from auth_service.throttle import Throttle

log: Final = logging.getLogger(__name__)


class Logins:
    """Verifies user names and passwords. Every failure costs the same work and raises the same error."""

    def __init__(
        self, stores: Stores, hashing: HashingPool, throttle: Throttle, clock: Callable[[], float] = time.time
    ) -> None:
        self._stores = stores
        self._hashing = hashing
        self._throttle = throttle
        self._device_cookies = DeviceCookies(stores, clock)
        self._clock = clock

    async def verify(self, name: str, password: str, address: str, device_cookie: str | None = None) -> Account:
        """Raises InvalidCredentials, UnsuitablePassword (too long), TooManyAttempts, HashingBusy."""
        password = normalize_password(password)
        name = _canonical_or_empty(name)
        recognized = await self._device_cookies.recognize(name, device_cookie)
        async with self._throttle.attempt(name, address, recognized) as attempt:
            account = await self._stores.accounts.get_by_name(name)
            matches = await self._hashing.verify(account.password_hash if account else None, password)
            if account is None or not matches or account.disabled:
                attempt.fail()
                await self._audit_refusal(account.id if account else None, address)
                raise InvalidCredentials
            attempt.succeed()
        await self._rehash_if_outdated(account, password)
        return account

    async def confirm(self, account: Account, password: str, address: str, device_cookie: str | None = None) -> None:
        """Reauthenticates the user of a session. Raises WrongPassword, UnsuitablePassword, TooManyAttempts,
        HashingBusy."""
        try:
            await self.verify(account.name, password, address, device_cookie)
        except InvalidCredentials:
            raise WrongPassword from None

    async def _audit_refusal(self, account_id: str | None, address: str) -> None:
        # Never the submitted name: users sometimes type their password into that field.
        log.info("login refused", extra={"account": account_id, "address": address})
        refusal = new_entry(Actor(None, address), Action.LOGIN_REFUSED, account_id, int(self._clock()))
        # Without a writable database the log-in is refused without an audit entry.
        with suppress(StoreUnavailable):
            await self._stores.audit.add(refusal)

    async def _rehash_if_outdated(self, account: Account, password: str) -> None:
        if not self._hashing.needs_rehash(account.password_hash):
            return
        # If it fails, the next log-in repeats it.
        with suppress(HashingBusy, StoreUnavailable):
            await self._stores.accounts.replace_hash(account, await self._hashing.hash(password))


def _canonical_or_empty(name: str) -> str:
    # No account has the empty name: an invalid name takes the same path as an unknown one.
    try:
        return canonicalize_name(name)
    except UnsuitableName:
        return ""
