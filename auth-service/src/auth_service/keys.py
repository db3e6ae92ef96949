import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auth_service.accounts import Account, Role
from auth_service.audit import Action, Actor, entry
from auth_service.errors import AccountChanged, NotFound, StoreUnavailable, UnsuitableKey
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.store.stores import Stores
from auth_service.tokens import ApiKey, Kind, Scope, digest, kind_of, new_id, new_token, shown_of

_TOUCH_SECONDS: Final = 30
_MOST_OF_A_USER: Final = 100


class Keys:
    """API keys."""

    def __init__(self, stores: Stores, announcer: Announcer, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._announcer = announcer
        self._clock = clock

    async def create(
        self, account: Account, name: str, scope: Scope, actor: Actor, expires_at: int | None = None
    ) -> tuple[ApiKey, str]:
        """With the key itself, shown this once. Raises UnsuitableKey, AccountChanged."""
        now = int(self._clock())
        token = new_token(Kind.API_KEY)
        key = ApiKey(new_id("key"), account.id, name, scope, now, expires_at=expires_at, prefix=shown_of(token))
        async with self._stores.database.writing():
            held = await self._stores.accounts.unchanged(account)
            if held is None:
                raise AccountChanged
            _refuse_unsuitable(held, name, scope, expires_at, now)
            if len(await self._stores.api_keys.of_account(account.id)) >= _MOST_OF_A_USER:
                raise UnsuitableKey(f"A user has at most {_MOST_OF_A_USER} keys: revoke one that is not used.")
            await self._stores.api_keys.add(key, token)
            await self._stores.audit.add(entry(actor, Action.KEY_CREATED, key.id, now))
        return key, token

    async def of_account(self, account_id: str) -> list[ApiKey]:
        return await self._stores.api_keys.of_account(account_id)

    async def of_token(self, token: str) -> tuple[Account, ApiKey] | None:
        return await self.of_credential(digest(token)) if kind_of(token) is Kind.API_KEY else None

    async def of_credential(self, credential: str, *, use: bool = True) -> tuple[Account, ApiKey] | None:
        """None for a key that has expired, or of an account that is disabled or no longer may have it."""
        key, now = await self._stores.api_keys.of_credential(credential), int(self._clock())
        if key is None or key.expired(now):
            return None
        account = await self._stores.accounts.with_id(key.account_id)
        if account is None or account.disabled:
            return None
        if key.scope is Scope.ADMIN and account.role is not Role.ADMIN:
            return None
        if use and (key.last_used_at is None or now - key.last_used_at >= _TOUCH_SECONDS):
            # A key that was good stays so while nothing can be written.
            with suppress(StoreUnavailable):
                await self._stores.api_keys.used(key, now)
        return account, key

    async def close(self, token: str, actor: Actor) -> None:
        """By the key itself, whoever's it is; one that does not exist is closed already."""
        async with self._stores.database.writing():
            key = await self._stores.api_keys.remove_credential(digest(token))
            if key is None:
                return
            await self._stores.audit.add(entry(actor, Action.KEY_REVOKED, key.id, int(self._clock())))
        await self._announcer.announce([Revocation(key.account_id, key.credential, Reason.KEY)])

    async def revoke(self, account_id: str, key_id: str, actor: Actor) -> None:
        """Raises NotFound, for another user's too."""
        async with self._stores.database.writing():
            key = await self._stores.api_keys.remove(account_id, key_id)
            if key is None:
                raise NotFound("key")
            await self._stores.audit.add(entry(actor, Action.KEY_REVOKED, key.id, int(self._clock())))
        await self._announcer.announce([Revocation(account_id, key.credential, Reason.KEY)])


def _refuse_unsuitable(account: Account, name: str, scope: Scope, expires_at: int | None, now: int) -> None:
    if not (1 <= len(name) <= 64 and name.isprintable()):
        raise UnsuitableKey("The label of a key is 1 to 64 printable characters.")
    if scope is Scope.ADMIN and account.role is not Role.ADMIN:
        raise UnsuitableKey(f"A key with the scope admin needs an administrator, and {account.name} is none.")
    if expires_at is not None and expires_at <= now:
        raise UnsuitableKey("A key expires in the future, or never.")
