"""The state that the lifespan opens, as a dependency of routes.

Dependencies are coroutines even if they await nothing: FastAPI runs plain functions in a thread pool.
"""

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request
from pydantic import SecretStr

from auth_service.administration import Administration
from auth_service.api_keys import ApiKeys
from auth_service.device_cookies import DeviceCookies
from auth_service.introspection import Introspection
from auth_service.logins import Logins
from auth_service.one_time_links import OneTimeLinks
from auth_service.openid_logins import OpenidLogins
from auth_service.password_changes import PasswordChanges
from auth_service.registration import Registration
from auth_service.routes.cookies import Cookies
from auth_service.sessions import Sessions
from auth_service.store.stores import Stores
from auth_service.tickets import Tickets


class RouteSettings(TypedDict):
    """The settings that routes need."""

    cookies: Cookies
    allowed_origins: tuple[str, ...]
    introspection_credential: SecretStr
    # Prepended to the path of a one-time link; if empty, the page prepends its own origin.
    public_url: str


class State(RouteSettings):
    stores: Stores
    logins: Logins
    device_cookies: DeviceCookies
    sessions: Sessions
    keys: ApiKeys
    tickets: Tickets
    introspection: Introspection
    registration: Registration
    links: OneTimeLinks
    passwords: PasswordChanges
    administration: Administration
    openid: OpenidLogins | None


async def _state(request: Request) -> State:
    # FastAPI does not support Request[State] as an annotation.
    return cast("State", request.state)


OpenState = Annotated[State, Depends(_state)]


async def client_address(request: Request) -> str:
    # Truncated to the column's length, since a trusted proxy may forward anything.
    return request.client.host[:64] if request.client else "unknown"


ClientAddress = Annotated[str, Depends(client_address)]
