"""What the gateway asks: whose is this credential, and what may it do? RFC 7662; and its end, RFC 7009."""

from dataclasses import dataclass
from typing import Literal

from auth_service.accounts import Account, canonical_name
from auth_service.audit import GATEWAY
from auth_service.errors import InvalidCredentials, UnsuitableName, UnsuitablePassword
from auth_service.keys import Keys
from auth_service.logins import Logins
from auth_service.sessions import Sessions
from auth_service.store.accounts import AccountStore
from auth_service.tickets import Tickets
from auth_service.tokens import Kind, Scope, kind_of


@dataclass(frozen=True, slots=True)
class Active:
    """`expires_at` in Unix seconds; None for what is valid until it is taken back. `credential` is what the gateway may
    ask about again, and what an announced revocation names; a ticket's is the one it stands for."""

    account: Account
    scope: Scope
    token_type: Literal["session", "api_key", "password", "ticket"]
    credential: str
    expires_at: int | None = None


class Introspection:
    def __init__(
        self, accounts: AccountStore, sessions: Sessions, keys: Keys, tickets: Tickets, logins: Logins
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._keys = keys
        self._tickets = tickets
        self._logins = logins

    async def of_token(self, token: str) -> Active | None:
        """A session, an API key or, this once, a ticket; never a password, which is none without its user's name."""
        match kind_of(token):
            case Kind.SESSION:
                login = await self._sessions.of_token(token)
                return _session(login.account, login.session.credential, login.ends_at) if login else None
            case Kind.API_KEY:
                return await self._of_key(token)
            case Kind.TICKET:
                ticket = await self._tickets.redeem(token)
                found = await self.of_credential(ticket.credential) if ticket else None
                return found and Active(found.account, found.scope, "ticket", found.credential, found.expires_at)
            case _:
                return None

    async def of_user(self, name: str, token: str, address: str) -> Active | None:
        """An API key or the password of the user `name`. Raises TooManyAttempts, HashingBusy."""
        if kind_of(token) is Kind.API_KEY:
            active = await self._of_key(token)
            return active if active and active.account.name == _canonical(name) else None
        try:
            verified = await self._logins.verify(name, token, address)
            # What was changed while this was hashed is announced already: no socket must be opened with it after that.
            return await self._by_password(verified.password_credential or "")
        except (InvalidCredentials, UnsuitablePassword):
            return None

    async def of_credential(self, credential: str, *, use: bool = True) -> Active | None:
        """What was active once, asked about again: an open socket's, without keeping the secret it came with. With
        `use` because of a request on it; without, because it is open still, which keeps no session alive."""
        if login := await self._sessions.of_credential(credential, use=use):
            return _session(login.account, credential, login.ends_at)
        if found := await self._keys.of_credential(credential, use=use):
            account, key = found
            return Active(account, key.scope, "api_key", credential, key.expires_at)
        return await self._by_password(credential)

    async def revoke(self, token: str) -> None:
        """What is not valid, or not one of ours, is revoked already. https://www.rfc-editor.org/rfc/rfc7009#section-2.2"""
        match kind_of(token):
            case Kind.SESSION:
                await self._sessions.close(token)
            case Kind.API_KEY:
                await self._keys.close(token, GATEWAY)
            case Kind.TICKET:
                await self._tickets.redeem(token)
            case _:
                pass

    async def _by_password(self, credential: str) -> Active | None:
        account = await self._accounts.with_password_credential(credential)
        return _password(account) if account and not account.disabled else None

    async def _of_key(self, token: str) -> Active | None:
        found = await self._keys.of_token(token)
        if found is None:
            return None
        account, key = found
        return Active(account, key.scope, "api_key", key.credential, key.expires_at)


def _session(account: Account, credential: str, ends_at: int) -> Active:
    return Active(account, Scope.CHAT, "session", credential, ends_at)


def _password(account: Account) -> Active:
    # An account whose password was verified has one, and with it a credential.
    return Active(account, Scope.CHAT, "password", account.password_credential or "")


def _canonical(name: str) -> str | None:
    try:
        return canonical_name(name)
    except UnsuitableName:
        return None
