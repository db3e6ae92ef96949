import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from auth_service.accounts import Account
from auth_service.store.accounts import AccountStore
from auth_service.store.sessions import SessionStore
from auth_service.tokens import Lifetime, Session, is_session_token, new_id, new_session_token

log: Final = logging.getLogger(__name__)

# Each use would otherwise be a write; the idle timeout is exact to this.
_TOUCH_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Login:
    account: Account
    session: Session
    ends_at: int


class Sessions:
    def __init__(
        self,
        store: SessionStore,
        accounts: AccountStore,
        lifetime: Lifetime,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._lifetime = lifetime
        self._clock = clock

    async def open(self, account: Account) -> str:
        """The token, which exists nowhere else."""
        token, now = new_session_token(), int(self._clock())
        session = Session(new_id("sess"), account.id, now, now, now + self._lifetime.absolute_seconds)
        await self._store.add(session, token)
        log.info("session opened", extra={"account": account.id, "session": session.id})
        return token

    async def of_token(self, token: str | None) -> Login | None:
        """None for a token that is not one, or whose session ended, or whose account is disabled."""
        if token is None or not is_session_token(token):
            return None
        session, now = await self._store.of_token(token), int(self._clock())
        if session is None or session.ends_at(self._lifetime) <= now:
            return None
        account = await self._accounts.with_id(session.account_id)
        if account is None or account.disabled:
            return None
        if now - session.last_used_at >= _TOUCH_SECONDS:
            await self._store.used(session, now)
        return Login(account, session, session.ends_at(self._lifetime))

    async def close(self, token: str | None) -> None:
        if token is not None and is_session_token(token):
            await self._store.remove(token)
