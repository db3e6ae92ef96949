import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

from auth_service.accounts import Account, Role, canonicalize_name
from auth_service.audit import Action, Actor, new_entry
from auth_service.errors import InviteRequired, RegistrationClosed
from auth_service.hashing import HashingPool
from auth_service.one_time_links import OneTimeLinks
from auth_service.passwords import validate_new_password
from auth_service.store.stores import Stores
from auth_service.tokens import TokenKind, new_credential, new_id


class RegistrationMode(StrEnum):
    """Who may create an account. FIRST is not a setting: it applies while there is no account."""

    CLOSED = "closed"
    OPEN = "open"
    INVITE = "invite"
    FIRST = "first"


class Registration:
    def __init__(
        self,
        stores: Stores,
        hashing: HashingPool,
        links: OneTimeLinks,
        configured_mode: RegistrationMode,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._hashing = hashing
        self._links = links
        self._configured_mode = configured_mode
        self._clock = clock

    @property
    def configured_mode(self) -> RegistrationMode:
        return self._configured_mode

    async def current_mode(self) -> RegistrationMode:
        return RegistrationMode.FIRST if await self._stores.accounts.is_empty() else self._configured_mode

    async def register(self, name: str, password: str, invite: str | None, address: str) -> Account:
        """The first account becomes an administrator. Raises UnsuitableName, UnsuitablePassword, NameTaken,
        InvalidLink, RegistrationClosed, InviteRequired, HashingBusy."""
        name = canonicalize_name(name)
        password = validate_new_password(password, name=name)
        await self._check_allowed(invite)
        password_hash = await self._hashing.hash(password)
        account = Account(
            new_id("user"),
            name,
            password_hash,
            Role.USER,
            disabled=False,
            created_at=int(self._clock()),
            password_credential=new_credential(),
        )
        return await self._add(account, invite, address)

    async def _check_allowed(self, invite: str | None) -> None:
        """Repeated in the transaction; here it saves the cost of hashing."""
        match await self.current_mode():
            case RegistrationMode.CLOSED:
                raise RegistrationClosed
            case RegistrationMode.INVITE if invite is None:
                raise InviteRequired
            case RegistrationMode.INVITE:
                await self._links.check(invite or "", TokenKind.INVITE)
            case _:
                pass

    async def _add(self, account: Account, invite: str | None, address: str) -> Account:
        async with self._stores.database.write_transaction():
            # Only one of several concurrent first registrations may become the administrator.
            await self._stores.accounts.lock_table()
            mode, used = await self.current_mode(), None
            if mode is RegistrationMode.FIRST:
                account = replace(account, role=Role.ADMIN)
            elif mode is RegistrationMode.INVITE:
                used = await self._links.redeem(invite or "", TokenKind.INVITE)
            elif mode is RegistrationMode.CLOSED:
                raise RegistrationClosed
            await self._stores.accounts.add(account)
            actor = Actor(account.id, address)
            await self._stores.audit.add(new_entry(actor, Action.REGISTERED, account.id, account.created_at))
            if used:
                await self._stores.audit.add(new_entry(actor, Action.INVITE_USED, used.id, account.created_at))
        return account
