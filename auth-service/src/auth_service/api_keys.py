import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auth_service.accounts import Account, Role
from auth_service.audit import Action, Actor, new_entry
from auth_service.errors import AccountChanged, NotFound, StoreUnavailable, UnsuitableKey
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.store.stores import Stores
from auth_service.tokens import ApiKey, Scope, TokenKind, digest, display_prefix, new_id, new_token, token_kind

_TOUCH_INTERVAL_SECONDS: Final = 30
_MAX_KEYS_PER_USER: Final = 100


class ApiKeys:
    def __init__(self, stores: Stores, announcer: Announcer, clock: Callable[[], float] = time.time) -> None:
        self._stores = stores
        self._announcer = announcer
        self._clock = clock

    async def create(
        self, account: Account, name: str, scope: Scope, actor: Actor, expires_at: int | None = None
    ) -> tuple[ApiKey, str]:
        """Returns the key and its token, which is not stored. Raises UnsuitableKey, AccountChanged."""
        now = int(self._clock())
        token = new_token(TokenKind.API_KEY)
        key = ApiKey(new_id("key"), account.id, name, scope, now, expires_at=expires_at, prefix=display_prefix(token))
        async with self._stores.database.write_transaction():
            current = await self._stores.accounts.get_if_unchanged(account)
            if current is None:
                raise AccountChanged
            _check_key(current, name, scope, expires_at, now)
            if len(await self._stores.api_keys.list_by_account(account.id)) >= _MAX_KEYS_PER_USER:
                raise UnsuitableKey(f"A user can have at most {_MAX_KEYS_PER_USER} API keys: revoke an unused one.")
            await self._stores.api_keys.add(key, token)
            await self._stores.audit.add(new_entry(actor, Action.KEY_CREATED, key.id, now))
        return key, token

    async def list_by_account(self, account_id: str) -> list[ApiKey]:
        return await self._stores.api_keys.list_by_account(account_id)

    async def get_by_token(self, token: str) -> tuple[Account, ApiKey] | None:
        return await self.get_by_credential(digest(token)) if token_kind(token) is TokenKind.API_KEY else None

    async def get_by_credential(self, credential: str, *, touch: bool = True) -> tuple[Account, ApiKey] | None:
        """Returns None if the key has expired or its account is disabled or no longer allowed its scope. With `touch`
        the call counts as use of the key."""
        key, now = await self._stores.api_keys.get_by_credential(credential), int(self._clock())
        if key is None or key.is_expired(now):
            return None
        account = await self._stores.accounts.get_by_id(key.account_id)
        if account is None or account.disabled:
            return None
        if key.scope is Scope.ADMIN and account.role is not Role.ADMIN:
            return None
        if touch and (key.last_used_at is None or now - key.last_used_at >= _TOUCH_INTERVAL_SECONDS):
            # Existing keys remain valid while the database is read-only.
            with suppress(StoreUnavailable):
                await self._stores.api_keys.touch(key, now)
        return account, key

    async def revoke_token(self, token: str, actor: Actor) -> None:
        """Does nothing for a token without a key."""
        async with self._stores.database.write_transaction():
            key = await self._stores.api_keys.remove_by_credential(digest(token))
            if key is None:
                return
            await self._stores.audit.add(new_entry(actor, Action.KEY_REVOKED, key.id, int(self._clock())))
        await self._announcer.announce([Revocation(key.account_id, key.credential, Reason.KEY)])

    async def revoke(self, account_id: str, key_id: str, actor: Actor) -> None:
        """Raises NotFound, also for another user's key."""
        async with self._stores.database.write_transaction():
            key = await self._stores.api_keys.remove(account_id, key_id)
            if key is None:
                raise NotFound("key")
            await self._stores.audit.add(new_entry(actor, Action.KEY_REVOKED, key.id, int(self._clock())))
        await self._announcer.announce([Revocation(account_id, key.credential, Reason.KEY)])


def _check_key(account: Account, name: str, scope: Scope, expires_at: int | None, now: int) -> None:
    if not (1 <= len(name) <= 64 and name.isprintable()):
        raise UnsuitableKey("The name of an API key must consist of 1 to 64 printable characters.")
    if scope is Scope.ADMIN and account.role is not Role.ADMIN:
        raise UnsuitableKey(f"The scope admin requires an administrator; {account.name} is not one.")
    if expires_at is not None and expires_at <= now:
        raise UnsuitableKey("The expiry of an API key must be in the future.")
