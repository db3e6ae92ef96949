"""Token introspection (RFC 7662) and revocation (RFC 7009) for the gateway."""

from dataclasses import dataclass, replace
from typing import Literal

from auth_service.accounts import Account, canonicalize_name
from auth_service.api_keys import ApiKeys
from auth_service.audit import GATEWAY
from auth_service.errors import InvalidCredentials, UnsuitableName, UnsuitablePassword
from auth_service.logins import Logins
from auth_service.sessions import Sessions
from auth_service.store.accounts import AccountStore
from auth_service.tickets import Tickets
from auth_service.tokens import Scope, TokenKind, token_kind


@dataclass(frozen=True, slots=True)
class ActiveToken:
    """`expires_at` in Unix seconds; None if the token is valid until it is revoked. `credential` identifies the token
    in later introspections and announced revocations; for a ticket, it is that of the token that requested it."""

    account: Account
    scope: Scope
    token_type: Literal["session", "api_key", "password", "ticket"]
    credential: str
    expires_at: int | None = None


class Introspection:
    def __init__(
        self, accounts: AccountStore, sessions: Sessions, keys: ApiKeys, tickets: Tickets, logins: Logins
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._keys = keys
        self._tickets = tickets
        self._logins = logins

    async def introspect_token(self, token: str) -> ActiveToken | None:
        """Accepts a session token, an API key or, once, a ticket; not a password, which requires a user name."""
        match token_kind(token):
            case TokenKind.SESSION:
                login = await self._sessions.get_by_token(token)
                return _session(login.account, login.session.credential, login.ends_at) if login else None
            case TokenKind.API_KEY:
                return await self._of_key(token)
            case TokenKind.TICKET:
                ticket = await self._tickets.redeem(token)
                active = await self.introspect_credential(ticket.credential) if ticket else None
                return replace(active, token_type="ticket") if active else None  # noqa: S106  # nosec B106
            case _:
                return None

    async def introspect_for_user(self, name: str, token: str, address: str) -> ActiveToken | None:
        """Accepts an API key or the password of the user `name`. Raises TooManyAttempts, HashingBusy."""
        if token_kind(token) is TokenKind.API_KEY:
            active = await self._of_key(token)
            return active if active and active.account.name == _canonical(name) else None
        try:
            verified = await self._logins.verify(name, token, address)
            # Read again: a password changed during hashing has already been announced as revoked, so a socket opened
            # with the old one now would never be closed.
            return await self._by_password(verified.password_credential or "")
        except (InvalidCredentials, UnsuitablePassword):
            return None

    async def introspect_credential(self, credential: str, *, touch: bool = True) -> ActiveToken | None:
        """Checks a token that was active before, without its secret: the gateway rechecks open sockets this way. With
        `touch` the check is for a request on the socket; an idle socket must not keep its session alive."""
        if login := await self._sessions.get_by_credential(credential, touch=touch):
            return _session(login.account, credential, login.ends_at)
        if found := await self._keys.get_by_credential(credential, touch=touch):
            account, key = found
            return ActiveToken(account, key.scope, "api_key", credential, key.expires_at)
        return await self._by_password(credential)

    async def revoke(self, token: str) -> None:
        """An invalid token is not an error. https://www.rfc-editor.org/rfc/rfc7009#section-2.2"""
        match token_kind(token):
            case TokenKind.SESSION:
                await self._sessions.close(token)
            case TokenKind.API_KEY:
                await self._keys.revoke_token(token, GATEWAY)
            case TokenKind.TICKET:
                await self._tickets.redeem(token)
            case _:
                pass

    async def _by_password(self, credential: str) -> ActiveToken | None:
        account = await self._accounts.get_by_password_credential(credential)
        return _password(account) if account and not account.disabled else None

    async def _of_key(self, token: str) -> ActiveToken | None:
        found = await self._keys.get_by_token(token)
        if found is None:
            return None
        account, key = found
        return ActiveToken(account, key.scope, "api_key", key.credential, key.expires_at)


def _session(account: Account, credential: str, ends_at: int) -> ActiveToken:
    return ActiveToken(account, Scope.CHAT, "session", credential, ends_at)


def _password(account: Account) -> ActiveToken:
    # An account with a password has a credential.
    return ActiveToken(account, Scope.CHAT, "password", account.password_credential or "")


def _canonical(name: str) -> str | None:
    try:
        return canonicalize_name(name)
    except UnsuitableName:
        return None
