from typing import Final, Literal

from fastapi import APIRouter, Depends, Request, Response

from auth_service.accounts import Account
from auth_service.devices import device
from auth_service.registration import Mode
from auth_service.routes.answers import not_stored
from auth_service.routes.bodies import Name, NewPassword, Password, StrictJsonRoute, StrictModel
from auth_service.routes.browsers import Browser, remember
from auth_service.routes.origin import same_origin
from auth_service.routes.resources import Me
from auth_service.routes.state import ClientAddress, OpenState, State
from auth_service.routes.who import LoggedIn

router: Final = APIRouter(prefix="/auth", route_class=StrictJsonRoute, dependencies=[Depends(not_stored)])
CHANGES: Final = [Depends(same_origin)]


class Credentials(StrictModel):
    username: str
    password: Password


class NewAccount(StrictModel):
    username: Name
    password: NewPassword
    invite: str | None = None


class Options(StrictModel):
    """What the page offers to somebody who is not logged in; `openid` is what the button says, None for no button."""

    object: Literal["auth_options"] = "auth_options"
    registration: Mode
    openid: str | None


@router.get("/options")
async def options(state: OpenState) -> Options:
    openid = state["openid"]
    return Options(registration=await state["registration"].mode(), openid=openid.name if openid else None)


@router.post("/register", dependencies=CHANGES)
async def register(
    body: NewAccount, request: Request, response: Response, address: ClientAddress, browser: Browser, state: OpenState
) -> Me:
    account = await state["registration"].register(body.username, body.password, body.invite, address)
    await begin_session(account, request, response, address, state)
    await remember(account, browser, response, state)
    return Me.of(account)


@router.post("/login", dependencies=CHANGES)
async def login(
    body: Credentials, request: Request, response: Response, address: ClientAddress, browser: Browser, state: OpenState
) -> Me:
    account = await state["logins"].verify(body.username, body.password, address, browser)
    await begin_session(account, request, response, address, state)
    await remember(account, browser, response, state)
    return Me.of(account)


@router.post("/logout", status_code=204, dependencies=CHANGES)
async def logout(request: Request, response: Response, address: ClientAddress, state: OpenState) -> None:
    cookie = state["cookies"].session
    await state["sessions"].close(cookie.read(request), address)
    cookie.clear(response)


@router.get("/me")
async def me(current: LoggedIn) -> Me:
    return Me.of(current.account)


async def begin_session(account: Account, request: Request, response: Response, address: str, state: State) -> None:
    """A log-in never continues the session the browser had, be it the user's or one planted on them."""
    cookie, sessions = state["cookies"].session, state["sessions"]
    known = device(request.headers.get("user-agent", ""))
    token = await sessions.open(account, address=address, device=known)
    await sessions.close(cookie.read(request), address)
    cookie.set(response, token)
