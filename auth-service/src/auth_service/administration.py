import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from auth_service.accounts import Account, Role, canonical_email, canonical_name
from auth_service.audit import Action, Actor, Entry, entry
from auth_service.errors import LastAdministrator, NotFound, UnknownAccount
from auth_service.hashing import HashingPool
from auth_service.passwords import acceptable
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.sessions import still_confirmed
from auth_service.store.stores import Stores
from auth_service.tokens import Session, new_credential, new_id


@dataclass(frozen=True, slots=True)
class Change:
    """None leaves as it is; the empty e-mail address is none. Of `limits` what is absent stays, and None is the
    deployment's default."""

    role: Role | None = None
    disabled: bool | None = None
    email: str | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)

    def applied_to(self, account: Account) -> Account:
        """Raises UnsuitableEmail."""
        return replace(
            account,
            role=account.role if self.role is None else self.role,
            disabled=account.disabled if self.disabled is None else self.disabled,
            email=account.email if self.email is None else canonical_email(self.email) if self.email else None,
            limits=replace(account.limits, **self.limits),
        )


class Administration:
    """What administrators do to accounts, at the command line or over HTTP; users delete their own."""

    def __init__(
        self, stores: Stores, announcer: Announcer, hashing: HashingPool, clock: Callable[[], float] = time.time
    ) -> None:
        self._stores = stores
        self._announcer = announcer
        self._hashing = hashing
        self._clock = clock

    async def add_user(
        self, name: str, password: str | None, role: Role | None, actor: Actor, email: str | None = None
    ) -> Account:
        """Without a password nobody can log in until a reset link was used; without a role the first account is an
        administrator's. Raises UnsuitableName, UnsuitablePassword, UnsuitableEmail, NameTaken, EmailTaken."""
        name = canonical_name(name)
        email = canonical_email(email) if email else None
        password_hash = await self._hashing.hash(acceptable(password, name=name)) if password is not None else ""
        credential = new_credential() if password_hash else None
        async with self._stores.database.writing():
            await self._stores.accounts.alone()
            first = await self._stores.accounts.none()
            role = role or (Role.ADMIN if first else Role.USER)
            now = int(self._clock())
            account = Account(new_id("user"), name, password_hash, role, False, now, credential, email)
            await self._stores.accounts.add(account)
            await self._audit(actor, Action.USER_CREATED, account)
        return account

    async def users(self) -> list[Account]:
        return await self._stores.accounts.all()

    async def page(self, limit: int, after: str | None) -> list[Account]:
        return await self._stores.accounts.page(limit, after)

    async def named(self, name: str) -> Account:
        """Raises UnsuitableName, UnknownAccount."""
        account = await self._stores.accounts.named(canonical_name(name))
        if account is None:
            raise UnknownAccount(canonical_name(name))
        return account

    async def with_id(self, account_id: str) -> Account:
        """Raises NotFound."""
        account = await self._stores.accounts.with_id(account_id)
        if account is None:
            raise NotFound("user")
        return account

    async def change(self, account_id: str, change: Change, actor: Actor) -> Account:
        """All of it or nothing. Raises NotFound, LastAdministrator, UnsuitableEmail, EmailTaken.

        A disabled account keeps its sessions and keys, and none of them opens anything; a key with the scope admin
        dies with the role. Introspection looks at all three.
        """
        async with self._stores.database.writing():
            await self._stores.accounts.alone()
            before = await self.with_id(account_id)
            after = change.applied_to(before)
            await self._refuse_to_lose(before, kept=_administrates(after))
            await self._stores.accounts.change(after)
            for action in _actions(before, after):
                await self._audit(actor, action, after)
        if after.disabled and not before.disabled:
            await self._announcer.announce([Revocation(account_id, None, Reason.USER)])
        return after

    async def delete_own(self, account: Account, session: Session, actor: Actor) -> None:
        """After the password was confirmed. Raises LastAdministrator, NotLoggedIn, WrongPassword."""
        async with self._stores.database.writing():
            await self._stores.accounts.alone()
            await still_confirmed(self._stores, account, session)
            await self._remove(account, actor)
        await self._announcer.announce([Revocation(account.id, None, Reason.DELETED)])

    async def delete(self, account: Account, actor: Actor) -> None:
        """Raises LastAdministrator, NotFound. The gateway is told until it has deleted the conversations."""
        async with self._stores.database.writing():
            await self._stores.accounts.alone()
            await self._remove(account, actor)
        await self._announcer.announce([Revocation(account.id, None, Reason.DELETED)])

    async def _remove(self, account: Account, actor: Actor) -> None:
        await self._refuse_to_lose(await self.with_id(account.id), kept=False)
        await self._stores.accounts.remove(account.id)
        await self._stores.deletions.add(account.id, int(self._clock()))
        await self._audit(actor, Action.USER_DELETED, account)

    async def audit(self, limit: int, before: int | None) -> list[Entry]:
        return await self._stores.audit.page(limit, before, int(self._clock()))

    async def _refuse_to_lose(self, account: Account, *, kept: bool) -> None:
        if _administrates(account) and not kept and not await self._stores.accounts.another_administrator(account.id):
            raise LastAdministrator

    async def _audit(self, actor: Actor, action: Action, account: Account) -> None:
        await self._stores.audit.add(entry(actor, action, account.id, int(self._clock())))


def _administrates(account: Account) -> bool:
    return account.role is Role.ADMIN and not account.disabled


def _actions(before: Account, after: Account) -> Iterator[Action]:
    if before.role is not after.role:
        yield Action.ROLE_CHANGED
    if before.disabled is not after.disabled:
        yield Action.USER_DISABLED if after.disabled else Action.USER_ENABLED
    if before.email != after.email:
        yield Action.EMAIL_CHANGED
    if before.limits != after.limits:
        yield Action.LIMITS_CHANGED
