import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from auth_service.accounts import Account
from auth_service.audit import Action, Actor, entry
from auth_service.errors import InvalidCredentials, NotFound, NotLoggedIn, StoreUnavailable, WrongPassword
from auth_service.revocations import Announcer, Reason, Revocation
from auth_service.store.stores import Stores
from auth_service.tokens import Kind, Lifetime, Session, digest, kind_of, new_id, new_token

log: Final = logging.getLogger(__name__)

# Each use would otherwise be a write; the idle timeout is exact to this.
_TOUCH_SECONDS: Final = 30
_MOST_OF_A_USER: Final = 50


@dataclass(frozen=True, slots=True)
class Login:
    account: Account
    session: Session
    ends_at: int


async def still_confirmed(stores: Stores, account: Account, session: Session) -> Account:
    """Inside the transaction of what a password was confirmed for; the account as it is now.

    Raises NotLoggedIn when the session has ended meanwhile, WrongPassword when the password is another one.
    """
    now = await stores.accounts.unchanged(account)
    if await stores.sessions.of_credential(session.credential) is None:
        raise NotLoggedIn
    if now is None:
        raise WrongPassword
    return now


class Sessions:
    def __init__(
        self, stores: Stores, announcer: Announcer, lifetime: Lifetime, clock: Callable[[], float] = time.time
    ) -> None:
        self._stores = stores
        self._announcer = announcer
        self._lifetime = lifetime
        self._clock = clock

    async def open(self, account: Account, *, address: str | None = None, device: str = "") -> str:
        """The token, which exists nowhere else. Beyond fifty the one that was not used for the longest time ends.

        Raises InvalidCredentials if `account` is outdated."""
        token, now = new_token(Kind.SESSION), int(self._clock())
        session = Session(new_id("sess"), account.id, now, now, now + self._lifetime.absolute_seconds, device)
        async with self._stores.database.writing():
            if await self._stores.accounts.unchanged(account) is None:
                raise InvalidCredentials
            await self._stores.sessions.add(session, token)
            await self._stores.audit.add(entry(Actor(account.id, address), Action.LOGGED_IN, session.id, now))
            ended = await self._end_surplus(session, Actor(account.id, address))
        await self._announce(ended)
        log.info("session opened", extra={"account": account.id, "session": session.id})
        return token

    async def _end_surplus(self, opened: Session, actor: Actor) -> list[Session]:
        every = await self._stores.sessions.of_account(opened.account_id)
        others = [session for session in every if session.id != opened.id]
        surplus = others[_MOST_OF_A_USER - 1 :]
        for session in surplus:
            await self._stores.sessions.remove(session.account_id, session.id)
            await self._stores.audit.add(entry(actor, Action.SESSION_REVOKED, session.id, opened.created_at))
        return surplus

    async def of_token(self, token: str | None) -> Login | None:
        """None for a token that is not one, or whose session ended, or whose account is disabled."""
        if token is None or kind_of(token) is not Kind.SESSION:
            return None
        return await self.of_credential(digest(token))

    async def of_credential(self, credential: str, *, use: bool = True) -> Login | None:
        """Without `use` it is only looked at: the idle timeout runs on."""
        session, now = await self._stores.sessions.of_credential(credential), int(self._clock())
        if session is None or session.ends_at(self._lifetime) <= now:
            return None
        account = await self._stores.accounts.with_id(session.account_id)
        if account is None or account.disabled:
            return None
        if use and now - session.last_used_at >= _TOUCH_SECONDS:
            # Who is logged in stays so while nothing can be written.
            with suppress(StoreUnavailable):
                await self._stores.sessions.used(session, now)
        return Login(account, session, session.ends_at(self._lifetime))

    async def of_account(self, account_id: str) -> list[Session]:
        """Those that have not ended, the latest used first."""
        now = int(self._clock())
        every = await self._stores.sessions.of_account(account_id)
        return [session for session in every if session.ends_at(self._lifetime) > now]

    async def close(self, token: str | None, address: str | None = None) -> None:
        if token is None or kind_of(token) is not Kind.SESSION:
            return
        await self._close(digest(token), address)

    async def _close(self, credential: str, address: str | None) -> None:
        async with self._stores.database.writing():
            session = await self._stores.sessions.remove_credential(credential)
            if session is None:
                return
            actor = Actor(session.account_id, address)
            await self._stores.audit.add(entry(actor, Action.LOGGED_OUT, session.id, int(self._clock())))
        await self._announce([session])

    async def revoke(self, account_id: str, session_id: str, actor: Actor) -> None:
        """Raises NotFound, for another user's too."""
        async with self._stores.database.writing():
            session = await self._stores.sessions.remove(account_id, session_id)
            if session is None:
                raise NotFound("session")
            await self._stores.audit.add(entry(actor, Action.SESSION_REVOKED, session.id, int(self._clock())))
        await self._announce([session])

    async def revoke_others(self, account_id: str, kept_id: str | None, actor: Actor) -> int:
        """How many there were; with None there is no exception."""
        async with self._stores.database.writing():
            removed = await self._stores.sessions.remove_others(account_id, kept_id)
            if removed:
                await self._stores.audit.add(entry(actor, Action.SESSIONS_REVOKED, account_id, int(self._clock())))
        await self._announce(removed)
        return len(removed)

    async def _announce(self, removed: list[Session]) -> None:
        await self._announcer.announce(
            Revocation(session.account_id, session.credential, Reason.SESSION) for session in removed
        )
