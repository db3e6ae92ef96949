import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from auth_service.accounts import Account, Role, canonicalize_email, canonicalize_name
from auth_service.audit import Action, Actor, new_entry
from auth_service.errors import OpenidRefused, StoreUnavailable, UnsuitableEmail, UnsuitableName
from auth_service.openid_flow import Flow
from auth_service.openid_provider import Claims, Provider
from auth_service.store.stores import Stores
from auth_service.tokens import equal_in_constant_time, new_id

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """Which accounts a log-in at the provider may open besides those that are already linked to it."""

    link_by_email: bool = False
    create_accounts: bool = False


class OpenidLogins:
    def __init__(
        self,
        stores: Stores,
        provider: Provider,
        name: str,
        link_policy: LinkPolicy,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._provider = provider
        self._link_policy = link_policy
        self._clock = clock
        self.name = name

    async def begin(self, flow: Flow) -> str:
        """Returns the URL to redirect the browser to. Raises ProviderUnavailable."""
        return await self._provider.authorization_url(flow)

    async def finish(self, flow: Flow | None, state: str | None, code: str | None, address: str) -> Account:
        """Handles the callback and returns the account. Raises OpenidRefused, ProviderUnavailable."""
        try:
            return await self._finish(flow, state, code, address)
        except OpenidRefused as exc:
            await self._audit_refusal(exc, address)
            raise

    async def _finish(self, flow: Flow | None, state: str | None, code: str | None, address: str) -> Account:
        if flow is None or state is None or not equal_in_constant_time(flow.state, state):
            raise OpenidRefused("openid_state", "the log-in was started in another browser or has expired")
        if not code:
            raise OpenidRefused("openid_refused", "the provider sent no code")
        claims = await self._provider.fetch_claims(code, flow)
        account = await self._resolve_account(claims, address)
        if account is None:
            raise OpenidRefused("openid_no_account", "no account is linked to this subject")
        if account.disabled:
            raise OpenidRefused("openid_no_account", "the account is disabled", account.id)
        return account

    async def _audit_refusal(self, refused: OpenidRefused, address: str) -> None:
        refusal = new_entry(Actor(None, address), Action.LOGIN_REFUSED, refused.account_id, int(self._clock()))
        # Without a writable database the log-in is refused without an audit entry.
        with suppress(StoreUnavailable):
            await self._stores.audit.add(refusal)

    async def _resolve_account(self, claims: Claims, address: str) -> Account | None:
        async with self._stores.database.write_transaction():
            await self._stores.accounts.lock_table()
            linked_id = await self._stores.identities.get_account_id(claims.issuer, claims.subject)
            if linked_id is not None:
                return await self._stores.accounts.get_by_id(linked_id)
            account = await self._find_by_email(claims) or await self._create_account(claims, address)
            if account is None:
                return None
            now = int(self._clock())
            await self._stores.identities.add(claims.issuer, claims.subject, account.id, now)
            await self._stores.audit.add(new_entry(Actor(account.id, address), Action.OPENID_LINKED, account.id, now))
        return account

    async def _find_by_email(self, claims: Claims) -> Account | None:
        email = _valid_email(claims) if self._link_policy.link_by_email else None
        return await self._stores.accounts.get_by_email(email) if email else None

    async def _create_account(self, claims: Claims, address: str) -> Account | None:
        if not self._link_policy.create_accounts:
            return None
        first = await self._stores.accounts.is_empty()
        role, now = Role.ADMIN if first else Role.USER, int(self._clock())
        email = _valid_email(claims)
        if email and await self._stores.accounts.get_by_email(email):
            email = None  # already belongs to another account
        account = Account(new_id("user"), await self._available_name(claims), "", role, False, now, None, email)
        await self._stores.accounts.add(account)
        await self._stores.audit.add(new_entry(Actor(account.id, address), Action.REGISTERED, account.id, now))
        return account

    async def _available_name(self, claims: Claims) -> str:
        """Returns the provider's user name without invalid characters, with a random suffix if it is taken."""
        preferred = claims.name or (claims.email or "").partition("@")[0]
        base = re.sub(r"[^a-z0-9._-]", "", preferred.lower())[:48] or "user"
        with suppress(UnsuitableName):
            name = canonicalize_name(base)
            if await self._stores.accounts.get_by_name(name) is None:
                return name
        return f"{base}-{new_id('')[1:9]}"


def _valid_email(claims: Claims) -> str | None:
    with suppress(UnsuitableEmail):
        return canonicalize_email(claims.email) if claims.email else None
    return None
