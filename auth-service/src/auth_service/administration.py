import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from auth_service.accounts import Account, Role, canonicalize_email, canonicalize_name
from auth_service.audit import Action, Actor, Entry, new_entry
from auth_service.errors import LastAdministrator, NotFound, UnknownAccount
from auth_service.hashing import HashingPool
from auth_service.passwords import validate_new_password
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.sessions import get_confirmed_account
from auth_service.store.stores import Stores
from auth_service.tokens import Session, new_credential, new_id


@dataclass(frozen=True, slots=True)
class AccountChange:
    """None keeps the current value; an empty e-mail address removes it. Limits that are absent keep their value; None
    resets one to the deployment's default."""

    role: Role | None = None
    disabled: bool | None = None
    email: str | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)

    def apply_to(self, account: Account) -> Account:
        """Raises UnsuitableEmail."""
        return replace(
            account,
            role=account.role if self.role is None else self.role,
            disabled=account.disabled if self.disabled is None else self.disabled,
            email=account.email if self.email is None else canonicalize_email(self.email) if self.email else None,
            limits=replace(account.limits, **self.limits),
        )


class Administration:
    """Manages accounts, for the command line and for HTTP; also deletes a user's own account."""

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
        """Without a password, the user must use a reset link before the first log-in. Without a role, the first account
        becomes an administrator. Raises UnsuitableName, UnsuitablePassword, UnsuitableEmail, NameTaken, EmailTaken."""
        name = canonicalize_name(name)
        email = canonicalize_email(email) if email else None
        password_hash = (
            await self._hashing.hash(validate_new_password(password, name=name)) if password is not None else ""
        )
        credential = new_credential() if password_hash else None
        async with self._stores.database.write_transaction():
            await self._stores.accounts.lock_table()
            first = await self._stores.accounts.is_empty()
            role = role or (Role.ADMIN if first else Role.USER)
            now = int(self._clock())
            account = Account(new_id("user"), name, password_hash, role, False, now, credential, email)
            await self._stores.accounts.add(account)
            await self._audit(actor, Action.USER_CREATED, account)
        return account

    async def list_users(self) -> list[Account]:
        return await self._stores.accounts.list_all()

    async def list_page(self, limit: int, after: str | None) -> list[Account]:
        return await self._stores.accounts.list_page(limit, after)

    async def get_by_name(self, name: str) -> Account:
        """Raises UnsuitableName, UnknownAccount."""
        account = await self._stores.accounts.get_by_name(canonicalize_name(name))
        if account is None:
            raise UnknownAccount(canonicalize_name(name))
        return account

    async def get_by_id(self, account_id: str) -> Account:
        """Raises NotFound."""
        account = await self._stores.accounts.get_by_id(account_id)
        if account is None:
            raise NotFound("user")
        return account

    async def change(self, account_id: str, change: AccountChange, actor: Actor) -> Account:
        """Atomic. Raises NotFound, LastAdministrator, UnsuitableEmail, EmailTaken.

        Sessions and keys of a disabled account are kept, but inactive until it is enabled again; so are keys with the
        scope admin of a user who is no longer an administrator. Introspection checks both.
        """
        async with self._stores.database.write_transaction():
            await self._stores.accounts.lock_table()
            before = await self.get_by_id(account_id)
            after = change.apply_to(before)
            await self._require_other_administrator(before, kept=_is_active_administrator(after))
            await self._stores.accounts.update(after)
            for action in _audit_actions(before, after):
                await self._audit(actor, action, after)
        if after.disabled and not before.disabled:
            await self._announcer.announce([Revocation(account_id, None, Reason.USER)])
        return after

    async def delete_own(self, account: Account, session: Session, actor: Actor) -> None:
        """Called after the password was confirmed. Raises LastAdministrator, NotLoggedIn, WrongPassword."""
        async with self._stores.database.write_transaction():
            await self._stores.accounts.lock_table()
            await get_confirmed_account(self._stores, account, session)
            await self._remove(account, actor)
        await self._announcer.announce([Revocation(account.id, None, Reason.DELETED)])

    async def delete(self, account: Account, actor: Actor) -> None:
        """Raises LastAdministrator, NotFound. The request to delete the user's conversations is repeated until a
        gateway confirms it."""
        async with self._stores.database.write_transaction():
            await self._stores.accounts.lock_table()
            await self._remove(account, actor)
        await self._announcer.announce([Revocation(account.id, None, Reason.DELETED)])

    async def _remove(self, account: Account, actor: Actor) -> None:
        await self._require_other_administrator(await self.get_by_id(account.id), kept=False)
        await self._stores.accounts.remove(account.id)
        await self._stores.deletions.add(account.id, int(self._clock()))
        await self._audit(actor, Action.USER_DELETED, account)

    async def list_audit(self, limit: int, before: int | None) -> list[Entry]:
        return await self._stores.audit.list_page(limit, before, int(self._clock()))

    async def _require_other_administrator(self, account: Account, *, kept: bool) -> None:
        if (
            _is_active_administrator(account)
            and not kept
            and not await self._stores.accounts.has_other_administrator(account.id)
        ):
            raise LastAdministrator

    async def _audit(self, actor: Actor, action: Action, account: Account) -> None:
        await self._stores.audit.add(new_entry(actor, action, account.id, int(self._clock())))


def _is_active_administrator(account: Account) -> bool:
    return account.role is Role.ADMIN and not account.disabled


def _audit_actions(before: Account, after: Account) -> Iterator[Action]:
    if before.role is not after.role:
        yield Action.ROLE_CHANGED
    if before.disabled is not after.disabled:
        yield Action.USER_DISABLED if after.disabled else Action.USER_ENABLED
    if before.email != after.email:
        yield Action.EMAIL_CHANGED
    if before.limits != after.limits:
        yield Action.LIMITS_CHANGED
