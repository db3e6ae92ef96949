from typing import Final, Literal

from fastapi import APIRouter, Depends, Request, Response

from auth_service.accounts import Account
from auth_service.devices import describe_device
from auth_service.registration import RegistrationMode
from auth_service.routes.device_cookie import DeviceCookie, set_device_cookie
from auth_service.routes.origin import require_same_origin
from auth_service.routes.principal import LoggedIn
from auth_service.routes.request_bodies import Name, NewPassword, Password, StrictJsonRoute, StrictModel
from auth_service.routes.resources import Me
from auth_service.routes.responses import no_store
from auth_service.routes.state import ClientAddress, OpenState, State

router: Final = APIRouter(prefix="/auth", route_class=StrictJsonRoute, dependencies=[Depends(no_store)])
_STATE_CHANGING: Final = [Depends(require_same_origin)]


class Credentials(StrictModel):
    username: str
    password: Password


class NewAccount(StrictModel):
    username: Name
    password: NewPassword
    invite: str | None = None


class Options(StrictModel):
    """The options of the log-in page; `openid` is the label of its button for the provider, null for no button."""

    object: Literal["auth_options"] = "auth_options"
    registration: RegistrationMode
    openid: str | None


@router.get("/options")
async def options(state: OpenState) -> Options:
    openid = state["openid"]
    return Options(registration=await state["registration"].current_mode(), openid=openid.name if openid else None)


@router.post("/register", dependencies=_STATE_CHANGING)
async def register(
    body: NewAccount,
    request: Request,
    response: Response,
    address: ClientAddress,
    device_cookie: DeviceCookie,
    state: OpenState,
) -> Me:
    account = await state["registration"].register(body.username, body.password, body.invite, address)
    await start_session(account, request, response, address, state)
    await set_device_cookie(account, device_cookie, request, response, state)
    return Me.of(account)


@router.post("/login", dependencies=_STATE_CHANGING)
async def login(
    body: Credentials,
    request: Request,
    response: Response,
    address: ClientAddress,
    device_cookie: DeviceCookie,
    state: OpenState,
) -> Me:
    account = await state["logins"].verify(body.username, body.password, address, device_cookie)
    await start_session(account, request, response, address, state)
    await set_device_cookie(account, device_cookie, request, response, state)
    return Me.of(account)


@router.post("/logout", status_code=204, dependencies=_STATE_CHANGING)
async def logout(request: Request, response: Response, address: ClientAddress, state: OpenState) -> None:
    cookie = state["cookies"].session
    await state["sessions"].close(cookie.read(request), address)
    cookie.clear(request, response)


@router.get("/me")
async def me(current: LoggedIn) -> Me:
    return Me.of(current.account)


async def start_session(account: Account, request: Request, response: Response, address: str, state: State) -> None:
    """Always opens a new session and ends the browser's previous one, to prevent session fixation."""
    cookie, sessions = state["cookies"].session, state["sessions"]
    device = describe_device(request.headers.get("user-agent", ""))
    token = await sessions.open(account, address=address, device=device)
    await sessions.close(cookie.read(request), address)
    cookie.set(request, response, token)
