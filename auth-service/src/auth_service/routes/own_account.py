"""Routes for a user's own account: its password, sessions and API keys, and its deletion."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from auth_service.audit import Actor
from auth_service.routes.device_cookie import DeviceCookie, set_device_cookie
from auth_service.routes.ids import KeyId, SessionId
from auth_service.routes.origin import require_same_origin
from auth_service.routes.principal import LoggedIn
from auth_service.routes.request_bodies import NewPassword, Password, StrictJsonRoute, StrictModel
from auth_service.routes.resources import Key, Page, SessionResource
from auth_service.routes.responses import no_store
from auth_service.routes.state import ClientAddress, OpenState
from auth_service.tokens import Scope

router: Final = APIRouter(prefix="/auth", route_class=StrictJsonRoute, dependencies=[Depends(no_store)])
_STATE_CHANGING: Final = [Depends(require_same_origin)]


class ChangedPassword(StrictModel):
    current_password: Password
    new_password: NewPassword


class DeleteAccount(StrictModel):
    current_password: Password


class ResetPassword(StrictModel):
    token: str
    password: NewPassword


class NewKey(StrictModel):
    """`expires_at` in Unix seconds; without it, the key is valid until it is revoked."""

    name: str
    scope: Annotated[Scope, Field(strict=False)] = Scope.CHAT
    expires_at: Annotated[int, Field(le=2**53)] | None = None


@router.post("/password", status_code=204, dependencies=_STATE_CHANGING)
async def change_password(
    body: ChangedPassword,
    request: Request,
    response: Response,
    current: LoggedIn,
    address: ClientAddress,
    device_cookie: DeviceCookie,
    state: OpenState,
) -> None:
    old, new = body.current_password, body.new_password
    account = await state["passwords"].change(current.account, current.session, old, new, address, device_cookie)
    await set_device_cookie(account, device_cookie, request, response, state)


@router.post("/reset", status_code=204, dependencies=_STATE_CHANGING)
async def reset_password(body: ResetPassword, address: ClientAddress, state: OpenState) -> None:
    await state["passwords"].reset(body.token, body.password, address)


@router.delete("/me", status_code=204, dependencies=_STATE_CHANGING)
async def delete_account(
    body: DeleteAccount,
    request: Request,
    response: Response,
    current: LoggedIn,
    address: ClientAddress,
    device_cookie: DeviceCookie,
    state: OpenState,
) -> None:
    account = current.account
    await state["logins"].confirm(account, body.current_password, address, device_cookie)
    await state["administration"].delete_own(account, current.session, Actor(account.id, address))
    state["cookies"].session.clear(request, response)
    state["cookies"].device.clear(request, response)


@router.get("/sessions")
async def sessions(current: LoggedIn, state: OpenState) -> Page[SessionResource]:
    active = await state["sessions"].list_by_account(current.account.id)
    return Page.of([SessionResource.of(session, current=session.id == current.session.id) for session in active])


@router.delete("/sessions", status_code=204, dependencies=_STATE_CHANGING)
async def revoke_other_sessions(current: LoggedIn, address: ClientAddress, state: OpenState) -> None:
    account_id = current.account.id
    await state["sessions"].revoke_others(account_id, current.session.id, Actor(account_id, address))


@router.delete("/sessions/{id}", status_code=204, dependencies=_STATE_CHANGING)
async def revoke_session(session_id: SessionId, current: LoggedIn, address: ClientAddress, state: OpenState) -> None:
    account_id = current.account.id
    await state["sessions"].revoke(account_id, session_id, Actor(account_id, address))


@router.post("/keys", dependencies=_STATE_CHANGING)
async def create_key(body: NewKey, current: LoggedIn, address: ClientAddress, state: OpenState) -> Key:
    account = current.account
    actor = Actor(account.id, address)
    key, token = await state["keys"].create(account, body.name, body.scope, actor, body.expires_at)
    return Key.of(key, token)


@router.get("/keys", response_model_exclude={"data": {"__all__": {"key"}}})
async def keys(current: LoggedIn, state: OpenState) -> Page[Key]:
    return Page.of([Key.of(key) for key in await state["keys"].list_by_account(current.account.id)])


@router.delete("/keys/{id}", status_code=204, dependencies=_STATE_CHANGING)
async def revoke_key(key_id: KeyId, current: LoggedIn, address: ClientAddress, state: OpenState) -> None:
    account_id = current.account.id
    await state["keys"].revoke(account_id, key_id, Actor(account_id, address))
