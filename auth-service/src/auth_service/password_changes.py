import time
from collections.abc import Callable
from dataclasses import replace

from auth_service.accounts import Account
from auth_service.audit import Action, Actor, new_entry
from auth_service.errors import InvalidLink
from auth_service.hashing import HashingPool
from auth_service.logins import Logins
from auth_service.one_time_links import OneTimeLinks
from auth_service.passwords import validate_new_password
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.sessions import get_confirmed_account
from auth_service.store.stores import Stores
from auth_service.tokens import Session, TokenKind, new_credential


class PasswordChanges:
    """A new password revokes all sessions except the requesting one, and all sockets opened with the old password. API
    keys do not depend on the password and remain valid."""

    def __init__(
        self,
        stores: Stores,
        announcer: Announcer,
        hashing: HashingPool,
        logins: Logins,
        links: OneTimeLinks,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stores = stores
        self._announcer = announcer
        self._hashing = hashing
        self._logins = logins
        self._links = links
        self._clock = clock

    async def change(
        self, account: Account, session: Session, current: str, new: str, address: str, device_cookie: str | None = None
    ) -> Account:
        """Returns the account with its new password.

        Raises WrongPassword, UnsuitablePassword, TooManyAttempts, HashingBusy; NotLoggedIn if a concurrent change has
        revoked this session.
        """
        new = validate_new_password(new, name=account.name)
        await self._logins.confirm(account, current, address, device_cookie)
        password_hash = await self._hashing.hash(new)
        async with self._stores.database.write_transaction():
            await self._stores.accounts.lock_table()
            confirmed = await get_confirmed_account(self._stores, account, session)
            changed, revocations = await self._set(confirmed, password_hash, session.id, Actor(account.id, address))
        await self._announcer.announce(revocations)
        return changed

    async def reset(self, token: str, new: str, address: str) -> Account:
        """Redeems a reset link. Raises InvalidLink, UnsuitablePassword, HashingBusy."""
        link = await self._links.check(token, TokenKind.RESET)
        account = await self._stores.accounts.get_by_id(link.account_id) if link.account_id else None
        if account is None:
            raise InvalidLink
        password_hash = await self._hashing.hash(validate_new_password(new, name=account.name))
        async with self._stores.database.write_transaction():
            await self._stores.accounts.lock_table()
            await self._links.redeem(token, TokenKind.RESET)
            current = await self._stores.accounts.get_for_update(account.id)
            if current is None:
                raise InvalidLink
            _, revocations = await self._set(current, password_hash, None, Actor(account.id, address))
        await self._announcer.announce(revocations)
        return account

    async def _set(
        self, account: Account, password_hash: str, kept_session_id: str | None, actor: Actor
    ) -> tuple[Account, list[Revocation]]:
        changed = replace(account, password_hash=password_hash, password_credential=new_credential())
        await self._stores.accounts.set_password(changed)
        await self._stores.links.remove_by_account(account.id)
        # A device cookie issued for the old password does not prove that the browser is the owner's.
        await self._stores.device_cookies.remove_by_account(account.id)
        sessions = await self._stores.sessions.remove_others(account.id, kept_session_id)
        action = Action.PASSWORD_CHANGED if kept_session_id else Action.PASSWORD_RESET
        await self._stores.audit.add(new_entry(actor, action, account.id, int(self._clock())))
        revocations = [Revocation(account.id, session.credential, Reason.SESSION) for session in sessions]
        if account.password_credential:
            revocations.append(Revocation(account.id, account.password_credential, Reason.PASSWORD))
        return changed, revocations
