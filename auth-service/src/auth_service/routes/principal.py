"""Authentication and authorization: one dependency per requirement. Nothing is decided by path."""

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

# Security schemes for the OpenAPI document. The scheme of the request decides which of the two names the cookie has.
_SESSION: Final = APIKeyCookie(name="parley_session", scheme_name="session", auto_error=False)
_SESSION_OVER_TLS: Final = APIKeyCookie(name="__Host-parley_session", scheme_name="session_over_tls", auto_error=False)
_KEY: Final = HTTPBearer(scheme_name="key", auto_error=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """The authenticated user of a request. `credential` is the digest of the presented token; `is_administrator`
    depends on the token's scope as well as on the user's role."""

    account: Account
    credential: str
    address: str
    is_administrator: bool

    @property
    def actor(self) -> Actor:
        return Actor(self.account.id, self.address)


async def session_token(
    request: Request,
    state: OpenState,
    _: Annotated[object, Depends(_SESSION)],
    __: Annotated[object, Depends(_SESSION_OVER_TLS)],
) -> str | None:
    return state["cookies"].session.read(request)


SessionToken = Annotated[str | None, Depends(session_token)]


async def require_session(token: SessionToken, state: OpenState) -> Login:
    """Accepts only the session cookie. Raises NotLoggedIn."""
    login = await state["sessions"].get_by_token(token)
    if login is None:
        raise NotLoggedIn
    return login


async def authenticate(
    request: Request,
    session_token: SessionToken,
    address: ClientAddress,
    state: OpenState,
    _: Annotated[object, Depends(_KEY)],
) -> Principal:
    """Accepts an API key or, without an Authorization header, the session cookie: an invalid key is an error even if
    the cookie is valid. Raises NotLoggedIn."""
    authorization = request.headers.get("authorization")
    if authorization is None:
        login = await require_session(session_token, state)
        account = login.account
        return Principal(account, login.session.credential, address, account.role is Role.ADMIN)
    scheme, _, key_token = authorization.partition(" ")
    found = await state["keys"].get_by_token(key_token.strip()) if scheme.lower() == "bearer" else None
    if found is None:
        raise NotLoggedIn
    account, key = found
    return Principal(account, key.credential, address, key.scope is Scope.ADMIN)


async def require_administrator(principal: Annotated[Principal, Depends(authenticate)]) -> Principal:
    """Raises NotLoggedIn, NotAllowed."""
    if not principal.is_administrator:
        raise NotAllowed
    return principal


LoggedIn = Annotated[Login, Depends(require_session)]
Authenticated = Annotated[Principal, Depends(authenticate)]
Administrator = Annotated[Principal, Depends(require_administrator)]
