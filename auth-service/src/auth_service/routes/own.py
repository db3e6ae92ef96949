"""What users do with their own account: password, sessions, keys, and its end."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from auth_service.audit import Actor
from auth_service.routes.answers import not_stored
from auth_service.routes.bodies import NewPassword, Password, StrictJsonRoute, StrictModel
from auth_service.routes.browsers import Browser, remember
from auth_service.routes.ids import KeyId, SessionId
from auth_service.routes.origin import same_origin
from auth_service.routes.resources import Key, Page, SessionResource
from auth_service.routes.state import ClientAddress, OpenState
from auth_service.routes.who import LoggedIn
from auth_service.tokens import Scope

router: Final = APIRouter(prefix="/auth", route_class=StrictJsonRoute, dependencies=[Depends(not_stored)])
_CHANGES: Final = [Depends(same_origin)]


class ChangedPassword(StrictModel):
    current_password: Password
    new_password: NewPassword


class Goodbye(StrictModel):
    current_password: Password


class ResetPassword(StrictModel):
    token: str
    password: NewPassword


class NewKey(StrictModel):
    """`expires_at` in Unix seconds; without it the key is valid until it is revoked."""

    name: str
    scope: Annotated[Scope, Field(strict=False)] = Scope.CHAT
    expires_at: Annotated[int, Field(le=2**53)] | None = None


@router.post("/password", status_code=204, dependencies=_CHANGES)
async def change_password(
    body: ChangedPassword,
    response: Response,
    current: LoggedIn,
    address: ClientAddress,
    browser: Browser,
    state: OpenState,
) -> None:
    old, new = body.current_password, body.new_password
    account = await state["passwords"].change(current.account, current.session, old, new, address, browser)
    await remember(account, browser, response, state)


@router.post("/reset", status_code=204, dependencies=_CHANGES)
async def reset_password(body: ResetPassword, address: ClientAddress, state: OpenState) -> None:
    await state["passwords"].reset(body.token, body.password, address)


@router.delete("/me", status_code=204, dependencies=_CHANGES)
async def delete_account(
    body: Goodbye, response: Response, current: LoggedIn, address: ClientAddress, browser: Browser, state: OpenState
) -> None:
    account = current.account
    await state["logins"].confirm(account, body.current_password, address, browser)
    await state["administration"].delete_own(account, current.session, Actor(account.id, address))
    state["cookies"].session.clear(response)
    state["cookies"].browser.clear(response)


@router.get("/sessions")
async def sessions(current: LoggedIn, state: OpenState) -> Page[SessionResource]:
    found = await state["sessions"].of_account(current.account.id)
    return Page.of([SessionResource.of(one, current=one.id == current.session.id) for one in found])


@router.delete("/sessions", status_code=204, dependencies=_CHANGES)
async def revoke_other_sessions(current: LoggedIn, address: ClientAddress, state: OpenState) -> None:
    account_id = current.account.id
    await state["sessions"].revoke_others(account_id, current.session.id, Actor(account_id, address))


@router.delete("/sessions/{id}", status_code=204, dependencies=_CHANGES)
async def revoke_session(session_id: SessionId, current: LoggedIn, address: ClientAddress, state: OpenState) -> None:
    account_id = current.account.id
    await state["sessions"].revoke(account_id, session_id, Actor(account_id, address))


@router.post("/keys", dependencies=_CHANGES)
async def create_key(body: NewKey, current: LoggedIn, address: ClientAddress, state: OpenState) -> Key:
    account = current.account
    actor = Actor(account.id, address)
    key, token = await state["keys"].create(account, body.name, body.scope, actor, body.expires_at)
    return Key.of(key, token)


@router.get("/keys", response_model_exclude={"data": {"__all__": {"key"}}})
async def keys(current: LoggedIn, state: OpenState) -> Page[Key]:
    return Page.of([Key.of(key) for key in await state["keys"].of_account(current.account.id)])


@router.delete("/keys/{id}", status_code=204, dependencies=_CHANGES)
async def revoke_key(key_id: KeyId, current: LoggedIn, address: ClientAddress, state: OpenState) -> None:
    account_id = current.account.id
    await state["keys"].revoke(account_id, key_id, Actor(account_id, address))
