import time
from collections.abc import Callable
from dataclasses import replace

from auth_service.accounts import Account
from auth_service.audit import Action, Actor, entry
from auth_service.errors import InvalidLink
from auth_service.hashing import HashingPool
from auth_service.logins import Logins
from auth_service.one_time_links import OneTimeLinks
from auth_service.passwords import acceptable
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.sessions import still_confirmed
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, Session, new_credential


class PasswordChanges:
    """A new password ends every session but the one that asked for it, and whatever the old one opened. API keys stay:
    they were not made from it."""

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
        self, account: Account, session: Session, current: str, new: str, address: str, browser: str | None = None
    ) -> Account:
        """The account with its new password.

        Raises WrongPassword, UnsuitablePassword, TooManyAttempts, HashingBusy; NotLoggedIn when another change came
        first and ended this session.
        """
        new = acceptable(new, name=account.name)
        await self._logins.confirm(account, current, address, browser)
        password_hash = await self._hashing.hash(new)
        async with self._stores.database.writing():
            await self._stores.accounts.alone()
            held = await still_confirmed(self._stores, account, session)
            changed, ended = await self._set(held, password_hash, session.id, Actor(account.id, address))
        await self._announcer.announce(ended)
        return changed

    async def reset(self, token: str, new: str, address: str) -> Account:
        """With a one-time link. Raises InvalidLink, UnsuitablePassword, HashingBusy."""
        await self._links.check(token, Kind.RESET)
        link = await self._stores.links.of_token(token, int(self._clock()))
        account = await self._stores.accounts.with_id(link.account_id) if link and link.account_id else None
        if account is None:
            raise InvalidLink
        password_hash = await self._hashing.hash(acceptable(new, name=account.name))
        async with self._stores.database.writing():
            await self._stores.accounts.alone()
            await self._links.take(token, Kind.RESET)
            held = await self._stores.accounts.held(account.id)
            if held is None:
                raise InvalidLink
            _, ended = await self._set(held, password_hash, None, Actor(account.id, address))
        await self._announcer.announce(ended)
        return account

    async def _set(
        self, account: Account, password_hash: str, kept_session_id: str | None, actor: Actor
    ) -> tuple[Account, list[Revocation]]:
        changed = replace(account, password_hash=password_hash, password_credential=new_credential())
        await self._stores.accounts.set_password(changed)
        await self._stores.links.remove_of_account(account.id)
        # That the old password was right in a browser says nothing about whose it is.
        await self._stores.known_browsers.remove_of_account(account.id)
        sessions = await self._stores.sessions.remove_others(account.id, kept_session_id)
        action = Action.PASSWORD_CHANGED if kept_session_id else Action.PASSWORD_RESET
        await self._stores.audit.add(entry(actor, action, account.id, int(self._clock())))
        ended = [Revocation(account.id, session.credential, Reason.SESSION) for session in sessions]
        if account.password_credential:
            ended.append(Revocation(account.id, account.password_credential, Reason.PASSWORD))
        return changed, ended
