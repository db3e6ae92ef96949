"""What the gateway asks: whose is this credential, and what may it do? RFC 7662."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from auth_service.accounts import Account, Role, canonical_name
from auth_service.errors import InvalidCredentials, UnsuitableName, UnsuitablePassword
from auth_service.logins import Logins
from auth_service.sessions import Sessions
from auth_service.store.accounts import AccountStore
from auth_service.store.api_keys import ApiKeyStore
from auth_service.tokens import Scope, is_api_key

_TOUCH_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Active:
    """`expires_at` in Unix seconds; None for what is valid until it is taken back."""

    account: Account
    scope: Scope
    token_type: Literal["session", "api_key", "password"]
    expires_at: int | None = None


class Introspection:
    def __init__(
        self,
        accounts: AccountStore,
        api_keys: ApiKeyStore,
        sessions: Sessions,
        logins: Logins,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._accounts = accounts
        self._api_keys = api_keys
        self._sessions = sessions
        self._logins = logins
        self._clock = clock

    async def of_token(self, token: str) -> Active | None:
        """A session or an API key; never a password, which is none without the name of its user."""
        if is_api_key(token):
            return await self._of_api_key(token)
        login = await self._sessions.of_token(token)
        return Active(login.account, Scope.CHAT, "session", login.ends_at) if login else None

    async def of_user(self, name: str, token: str, address: str) -> Active | None:
        """An API key or the password of the user `name`. Raises TooManyAttempts, HashingBusy."""
        if is_api_key(token):
            active = await self._of_api_key(token)
            return active if active and active.account.name == _canonical(name) else None
        try:
            return Active(await self._logins.verify(name, token, address), Scope.CHAT, "password")
        except (InvalidCredentials, UnsuitablePassword):
            return None

    async def _of_api_key(self, token: str) -> Active | None:
        key, now = await self._api_keys.of_token(token), int(self._clock())
        if key is None or key.expired(now):
            return None
        account = await self._accounts.with_id(key.account_id)
        if account is None or account.disabled:
            return None
        if key.scope is Scope.ADMIN and account.role is not Role.ADMIN:
            return None
        if key.last_used_at is None or now - key.last_used_at >= _TOUCH_SECONDS:
            await self._api_keys.used(key, now)
        return Active(account, key.scope, "api_key", key.expires_at)


def _canonical(name: str) -> str | None:
    try:
        return canonical_name(name)
    except UnsuitableName:
        return None
