"""What the lifespan opens, and how a route gets it.

Dependencies are coroutines even if they await nothing: FastAPI sends a plain function through its thread pool.
"""

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request
from pydantic import SecretStr

from auth_service.administration import Administration
from auth_service.introspection import Introspection
from auth_service.keys import Keys
from auth_service.known_browsers import KnownBrowsers
from auth_service.logins import Logins
from auth_service.one_time_links import OneTimeLinks
from auth_service.openid_logins import OpenidLogins
from auth_service.password_changes import PasswordChanges
from auth_service.registration import Registration
from auth_service.routes.cookies import Cookies
from auth_service.sessions import Sessions
from auth_service.store.stores import Stores
from auth_service.tickets import Tickets


class Policy(TypedDict):
    """What the routes know of the settings."""

    cookies: Cookies
    allowed_origins: tuple[str, ...]
    introspection_credential: SecretStr
    # What is put before the path of a one-time link; empty: the page knows where it is.
    public_url: str


class State(Policy):
    stores: Stores
    logins: Logins
    browsers: KnownBrowsers
    sessions: Sessions
    keys: Keys
    tickets: Tickets
    introspection: Introspection
    registration: Registration
    links: OneTimeLinks
    passwords: PasswordChanges
    administration: Administration
    openid: OpenidLogins | None


async def _state(request: Request) -> State:
    # FastAPI does not take Request[State] as an annotation, so the type is stated here, once.
    return cast("State", request.state)


OpenState = Annotated[State, Depends(_state)]


async def client_address(request: Request) -> str:
    # Not longer than an address is, whatever a proxy that is trusted says.
    return request.client.host[:64] if request.client else "unknown"


ClientAddress = Annotated[str, Depends(client_address)]
