import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

from auth_service.accounts import Account, Role, canonical_name
from auth_service.audit import Action, Actor, entry
from auth_service.errors import RegistrationClosed
from auth_service.hashing import HashingPool
from auth_service.one_time_links import OneTimeLinks
from auth_service.passwords import acceptable
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, new_credential, new_id


class Mode(StrEnum):
    """Who may make an account of their own. FIRST is no setting: while there is no account, whoever comes first."""

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
        setting: Mode,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._hashing = hashing
        self._links = links
        self._setting = setting
        self._clock = clock

    @property
    def setting(self) -> Mode:
        return self._setting

    async def mode(self) -> Mode:
        return Mode.FIRST if await self._stores.accounts.none() else self._setting

    async def register(self, name: str, password: str, invite: str | None, address: str) -> Account:
        """The first account is an administrator's. Raises UnsuitableName, UnsuitablePassword, NameTaken, InvalidLink,
        RegistrationClosed, HashingBusy."""
        name = canonical_name(name)
        password = acceptable(password, name=name)
        await self._refuse_early(invite)
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

    async def _refuse_early(self, invite: str | None) -> None:
        """What would be refused after the hashing is refused before it."""
        match await self.mode():
            case Mode.CLOSED:
                raise RegistrationClosed("by themselves")
            case Mode.INVITE if invite is None:
                raise RegistrationClosed("without an invite")
            case Mode.INVITE:
                await self._links.check(invite or "", Kind.INVITE)
            case _:
                pass

    async def _add(self, account: Account, invite: str | None, address: str) -> Account:
        async with self._stores.database.writing():
            # Of two who are first at the same moment one is.
            await self._stores.accounts.alone()
            mode, used = await self.mode(), None
            if mode is Mode.FIRST:
                account = replace(account, role=Role.ADMIN)
            elif mode is Mode.INVITE:
                used = await self._links.take(invite or "", Kind.INVITE)
            elif mode is Mode.CLOSED:
                raise RegistrationClosed("by themselves")
            await self._stores.accounts.add(account)
            actor = Actor(account.id, address)
            await self._stores.audit.add(entry(actor, Action.REGISTERED, account.id, account.created_at))
            if used:
                await self._stores.audit.add(entry(actor, Action.INVITE_USED, used.id, account.created_at))
        return account
