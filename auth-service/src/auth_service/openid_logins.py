import hmac
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from auth_service.accounts import Account, Role, canonical_email, canonical_name
from auth_service.audit import Action, Actor, entry
from auth_service.errors import OpenidRefused, StoreUnavailable, UnsuitableEmail, UnsuitableName
from auth_service.openid_flow import Flow
from auth_service.openid_provider import Person, Provider
from auth_service.store.stores import Stores
from auth_service.tokens import new_id

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trust:
    """How far the provider's word goes. By default it opens only accounts that are linked already."""

    link_by_email: bool = False
    create_accounts: bool = False


class OpenidLogins:
    def __init__(
        self, stores: Stores, provider: Provider, name: str, trust: Trust, clock: Callable[[], float] = time.time
    ) -> None:
        self._stores = stores
        self._provider = provider
        self._trust = trust
        self._clock = clock
        self.name = name

    async def begin(self, flow: Flow) -> str:
        """Where to send the browser. Raises ProviderUnavailable."""
        return await self._provider.authorization_url(flow)

    async def finish(self, flow: Flow | None, state: str | None, code: str | None, address: str) -> Account:
        """Whose account it is. Raises OpenidRefused, ProviderUnavailable."""
        try:
            return await self._finish(flow, state, code, address)
        except OpenidRefused as exc:
            await self._note_refusal(exc, address)
            raise

    async def _finish(self, flow: Flow | None, state: str | None, code: str | None, address: str) -> Account:
        if flow is None or state is None or not hmac.compare_digest(flow.state.encode(), state.encode()):
            raise OpenidRefused("openid_state", "this browser did not begin this log-in, or too long ago")
        if not code:
            raise OpenidRefused("openid_refused", "the provider sent no code")
        person = await self._provider.person(code, flow)
        account = await self._account_of(person, address)
        if account is None:
            raise OpenidRefused("openid_no_account", "nobody here is this person")
        if account.disabled:
            raise OpenidRefused("openid_no_account", "the account is disabled", account.id)
        return account

    async def _note_refusal(self, refused: OpenidRefused, address: str) -> None:
        refusal = entry(Actor(None, address), Action.LOGIN_REFUSED, refused.account_id, int(self._clock()))
        # A refusal that cannot be noted is one all the same.
        with suppress(StoreUnavailable):
            await self._stores.audit.add(refusal)

    async def _account_of(self, person: Person, address: str) -> Account | None:
        async with self._stores.database.writing():
            await self._stores.accounts.alone()
            known = await self._stores.identities.account_of(person.issuer, person.subject)
            if known is not None:
                return await self._stores.accounts.with_id(known)
            account = await self._by_email(person) or await self._created(person, address)
            if account is None:
                return None
            now = int(self._clock())
            await self._stores.identities.add(person.issuer, person.subject, account.id, now)
            await self._stores.audit.add(entry(Actor(account.id, address), Action.OPENID_LINKED, account.id, now))
        return account

    async def _by_email(self, person: Person) -> Account | None:
        email = _email(person) if self._trust.link_by_email else None
        return await self._stores.accounts.with_email(email) if email else None

    async def _created(self, person: Person, address: str) -> Account | None:
        if not self._trust.create_accounts:
            return None
        first = await self._stores.accounts.none()
        role, now = Role.ADMIN if first else Role.USER, int(self._clock())
        email = _email(person)
        if email and await self._stores.accounts.with_email(email):
            email = None  # somebody else's here, and not to be taken over
        account = Account(new_id("user"), await self._free_name(person), "", role, False, now, None, email)
        await self._stores.accounts.add(account)
        await self._stores.audit.add(entry(Actor(account.id, address), Action.REGISTERED, account.id, now))
        return account

    async def _free_name(self, person: Person) -> str:
        """What the provider calls the person, as far as it can be a name here and is nobody's yet."""
        wished = person.name or (person.email or "").partition("@")[0]
        plain = re.sub(r"[^a-z0-9._-]", "", wished.lower())[:48] or "user"
        with suppress(UnsuitableName):
            name = canonical_name(plain)
            if await self._stores.accounts.named(name) is None:
                return name
        return f"{plain}-{new_id('')[1:9]}"


def _email(person: Person) -> str | None:
    with suppress(UnsuitableEmail):
        return canonical_email(person.email) if person.email else None
    return None
