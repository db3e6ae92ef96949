import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from auth_service.accounts import Account
from auth_service.audit import Action, Actor, new_entry
from auth_service.errors import InvalidCredentials, NotFound, NotLoggedIn, StoreUnavailable, WrongPassword
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.store.stores import Stores
from auth_service.tokens import Session, SessionLifetime, TokenKind, digest, new_id, new_token, token_kind

log: Final = logging.getLogger(__name__)

# Limits writes: `last_used_at`, and with it the idle timeout, is accurate to this interval.
_TOUCH_INTERVAL_SECONDS: Final = 30
_MAX_SESSIONS_PER_USER: Final = 50


@dataclass(frozen=True, slots=True)
class Login:
    account: Account
    session: Session
    ends_at: int


async def get_confirmed_account(stores: Stores, account: Account, session: Session) -> Account:
    """Returns the current account, inside the transaction of the change for which its password was confirmed.

    Raises NotLoggedIn if the session has ended since, WrongPassword if the password has changed since.
    """
    current = await stores.accounts.get_if_unchanged(account)
    if await stores.sessions.get_by_credential(session.credential) is None:
        raise NotLoggedIn
    if current is None:
        raise WrongPassword
    return current


class Sessions:
    def __init__(
        self, stores: Stores, announcer: Announcer, lifetime: SessionLifetime, clock: Callable[[], float] = time.time
    ) -> None:
        self._stores = stores
        self._announcer = announcer
        self._lifetime = lifetime
        self._clock = clock

    async def open(self, account: Account, *, address: str | None = None, device: str = "") -> str:
        """Returns the token, which is not stored. Above 50 sessions, the least recently used one is revoked.

        Raises InvalidCredentials if the account has changed since `account` was read."""
        token, now = new_token(TokenKind.SESSION), int(self._clock())
        session = Session(new_id("sess"), account.id, now, now, now + self._lifetime.absolute_seconds, device)
        async with self._stores.database.write_transaction():
            if await self._stores.accounts.get_if_unchanged(account) is None:
                raise InvalidCredentials
            await self._stores.sessions.add(session, token)
            await self._stores.audit.add(new_entry(Actor(account.id, address), Action.LOGGED_IN, session.id, now))
            revoked = await self._revoke_surplus(session, Actor(account.id, address))
        await self._announce(revoked)
        log.info("session opened", extra={"account": account.id, "session": session.id})
        return token

    async def _revoke_surplus(self, opened: Session, actor: Actor) -> list[Session]:
        sessions = await self._stores.sessions.list_by_account(opened.account_id)
        others = [session for session in sessions if session.id != opened.id]
        surplus = others[_MAX_SESSIONS_PER_USER - 1 :]
        for session in surplus:
            await self._stores.sessions.remove(session.account_id, session.id)
            await self._stores.audit.add(new_entry(actor, Action.SESSION_REVOKED, session.id, opened.created_at))
        return surplus

    async def get_by_token(self, token: str | None) -> Login | None:
        """Returns None if the token is malformed, its session has ended or its account is disabled."""
        if token is None or token_kind(token) is not TokenKind.SESSION:
            return None
        return await self.get_by_credential(digest(token))

    async def get_by_credential(self, credential: str, *, touch: bool = True) -> Login | None:
        """With `touch` the call counts as use of the session and resets the idle timeout."""
        session, now = await self._stores.sessions.get_by_credential(credential), int(self._clock())
        if session is None or session.ends_at(self._lifetime) <= now:
            return None
        account = await self._stores.accounts.get_by_id(session.account_id)
        if account is None or account.disabled:
            return None
        if touch and now - session.last_used_at >= _TOUCH_INTERVAL_SECONDS:
            # Existing sessions remain valid while the database is read-only.
            with suppress(StoreUnavailable):
                await self._stores.sessions.touch(session, now)
        return Login(account, session, session.ends_at(self._lifetime))

    async def list_by_account(self, account_id: str) -> list[Session]:
        """Returns the sessions that have not ended, the most recently used first."""
        now = int(self._clock())
        sessions = await self._stores.sessions.list_by_account(account_id)
        return [session for session in sessions if session.ends_at(self._lifetime) > now]

    async def close(self, token: str | None, address: str | None = None) -> None:
        """Logs out. Does nothing for a token without a session."""
        if token is None or token_kind(token) is not TokenKind.SESSION:
            return
        async with self._stores.database.write_transaction():
            session = await self._stores.sessions.remove_by_credential(digest(token))
            if session is None:
                return
            actor = Actor(session.account_id, address)
            await self._stores.audit.add(new_entry(actor, Action.LOGGED_OUT, session.id, int(self._clock())))
        await self._announce([session])

    async def revoke(self, account_id: str, session_id: str, actor: Actor) -> None:
        """Raises NotFound, also for another user's session."""
        async with self._stores.database.write_transaction():
            session = await self._stores.sessions.remove(account_id, session_id)
            if session is None:
                raise NotFound("session")
            await self._stores.audit.add(new_entry(actor, Action.SESSION_REVOKED, session.id, int(self._clock())))
        await self._announce([session])

    async def revoke_others(self, account_id: str, kept_id: str | None, actor: Actor) -> int:
        """Returns the number of revoked sessions; None as `kept_id` revokes all."""
        async with self._stores.database.write_transaction():
            removed = await self._stores.sessions.remove_others(account_id, kept_id)
            if removed:
                await self._stores.audit.add(new_entry(actor, Action.SESSIONS_REVOKED, account_id, int(self._clock())))
        await self._announce(removed)
        return len(removed)

    async def _announce(self, removed: list[Session]) -> None:
        await self._announcer.announce(
            Revocation(session.account_id, session.credential, Reason.SESSION) for session in removed
        )
