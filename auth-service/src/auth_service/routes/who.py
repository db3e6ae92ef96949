"""Who asks: one dependency for each thing a route may demand. Nothing is decided by path."""

from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from auth_service.accounts import Account, Role
from auth_service.audit import Actor
from auth_service.errors import NotAllowed, NotLoggedIn
from auth_service.routes.state import ClientAddress, OpenState
from auth_service.sessions import Login
from auth_service.tokens import Scope

# What the OpenAPI document says that a route needs. Which of the two names the cookie has is a setting.
_SESSION: Final = APIKeyCookie(name="parley_session", scheme_name="session", auto_error=False)
_TLS: Final = APIKeyCookie(name="__Host-parley_session", scheme_name="session_over_tls", auto_error=False)
_KEY: Final = HTTPBearer(scheme_name="key", auto_error=False)


@dataclass(frozen=True, slots=True)
class Asker:
    """`credential` is the digest of what was shown; `may_administrate` what it, and not only its user, may do."""

    account: Account
    credential: str
    address: str
    may_administrate: bool

    @property
    def actor(self) -> Actor:
        return Actor(self.account.id, self.address)


async def session_token(
    request: Request, state: OpenState, _: Annotated[object, Depends(_SESSION)], __: Annotated[object, Depends(_TLS)]
) -> str | None:
    return state["cookies"].session.read(request)


SessionToken = Annotated[str | None, Depends(session_token)]


async def logged_in(token: SessionToken, state: OpenState) -> Login:
    """By the session's cookie alone. Raises NotLoggedIn."""
    login = await state["sessions"].of_token(token)
    if login is None:
        raise NotLoggedIn
    return login


async def identified(
    request: Request,
    session_token: SessionToken,
    address: ClientAddress,
    state: OpenState,
    _: Annotated[object, Depends(_KEY)],
) -> Asker:
    """By an API key, or without a header for one by the cookie. A key that is not valid is not made up for by a cookie.

    Raises NotLoggedIn.
    """
    authorization = request.headers.get("authorization")
    if authorization is None:
        login = await logged_in(session_token, state)
        account = login.account
        return Asker(account, login.session.credential, address, account.role is Role.ADMIN)
    scheme, _, key_token = authorization.partition(" ")
    found = await state["keys"].of_token(key_token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise NotLoggedIn
    account, key = found
    return Asker(account, key.credential, address, key.scope is Scope.ADMIN)


async def administrator(asker: Annotated[Asker, Depends(identified)]) -> Asker:
    """Raises NotLoggedIn, NotAllowed."""
    if not asker.may_administrate:
        raise NotAllowed
    return asker


LoggedIn = Annotated[Login, Depends(logged_in)]
Identified = Annotated[Asker, Depends(identified)]
Administrator = Annotated[Asker, Depends(administrator)]
