"""Routes for administrators. Every route depends on `require_administrator`."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from auth_service.accounts import Account, Role
from auth_service.administration import AccountChange
from auth_service.errors import InvitesDisabled
from auth_service.one_time_links import INVITE_SECONDS
from auth_service.registration import RegistrationMode
from auth_service.routes.ids import InviteId, UserId, is_well_formed
from auth_service.routes.origin import require_same_origin
from auth_service.routes.principal import Administrator, Principal
from auth_service.routes.request_bodies import Name, NewPassword, StrictJsonRoute, StrictModel
from auth_service.routes.resources import AuditEntry, Invite, OneTimeLink, Page, User
from auth_service.routes.responses import no_store
from auth_service.routes.state import OpenState, State

router: Final = APIRouter(prefix="/auth/admin", route_class=StrictJsonRoute, dependencies=[Depends(no_store)])
_STATE_CHANGING: Final = [Depends(require_same_origin)]
_YEAR_SECONDS: Final = 365 * 86400

Limit = Annotated[int, Query(ge=1, le=100)]
Number = Annotated[int, Field(ge=0, le=2**53)]


class NewUser(StrictModel):
    """Without a password, the response contains a one-time link with which the user sets one."""

    username: Name
    password: NewPassword | None = None
    role: Annotated[Role, Field(strict=False)] = Role.USER
    email: str | None = None


class CreatedUser(User):
    reset: OneTimeLink | None = None


class Limits(StrictModel):
    """Omitted limits keep their value; null resets one to the deployment's default."""

    messages_per_minute: Number | None = None
    concurrent_answers: Number | None = None
    tokens_per_day: Number | None = None


class ChangedUser(StrictModel):
    """Omitted fields keep their value."""

    role: Annotated[Role, Field(strict=False)] | None = None
    disabled: bool | None = None
    email: str | None = None
    limits: Limits | None = None


class NewInvite(StrictModel):
    expires_in_seconds: Annotated[int, Field(ge=60, le=_YEAR_SECONDS)] = INVITE_SECONDS


@router.get("/users")
async def users(_: Administrator, state: OpenState, limit: Limit = 20, after: str | None = None) -> Page[User]:
    after = after if after is None or is_well_formed(after) else ""
    accounts = await state["administration"].list_page(limit + 1, after)
    return Page.of([User.of(account) for account in accounts], limit=limit)


@router.post("/users", dependencies=_STATE_CHANGING)
async def create_user(body: NewUser, principal: Administrator, state: OpenState) -> CreatedUser:
    account = await state["administration"].add_user(
        body.username, body.password, body.role, principal.actor, body.email
    )
    reset = None if body.password is not None else await _reset_link(account, principal, state)
    return CreatedUser(**dict(User.of(account)), reset=reset)


@router.get("/users/{id}")
async def user(user_id: UserId, _: Administrator, state: OpenState) -> User:
    return User.of(await state["administration"].get_by_id(user_id))


@router.patch("/users/{id}", dependencies=_STATE_CHANGING)
async def change_user(user_id: UserId, body: ChangedUser, principal: Administrator, state: OpenState) -> User:
    limits = body.limits.model_dump(exclude_unset=True) if body.limits else {}
    email = body.email or "" if "email" in body.model_fields_set else None
    change = AccountChange(body.role, body.disabled, email, limits)
    return User.of(await state["administration"].change(user_id, change, principal.actor))


@router.delete("/users/{id}", status_code=204, dependencies=_STATE_CHANGING)
async def delete_user(user_id: UserId, principal: Administrator, state: OpenState) -> None:
    administration = state["administration"]
    await administration.delete(await administration.get_by_id(user_id), principal.actor)


@router.post("/users/{id}/reset", dependencies=_STATE_CHANGING)
async def create_reset(user_id: UserId, principal: Administrator, state: OpenState) -> OneTimeLink:
    return await _reset_link(await state["administration"].get_by_id(user_id), principal, state)


@router.delete("/users/{id}/sessions", status_code=204, dependencies=_STATE_CHANGING)
async def revoke_sessions(user_id: UserId, principal: Administrator, state: OpenState) -> None:
    account = await state["administration"].get_by_id(user_id)
    await state["sessions"].revoke_others(account.id, None, principal.actor)


@router.get("/invites")
async def invites(_: Administrator, state: OpenState) -> Page[Invite]:
    return Page.of([Invite.of(link) for link in await state["links"].list_invites()])


@router.post("/invites", dependencies=_STATE_CHANGING)
async def create_invite(body: NewInvite, principal: Administrator, state: OpenState) -> OneTimeLink:
    if state["registration"].configured_mode is RegistrationMode.CLOSED:
        raise InvitesDisabled
    return OneTimeLink.of(
        await state["links"].create_invite(principal.actor, body.expires_in_seconds), state["public_url"]
    )


@router.delete("/invites/{id}", status_code=204, dependencies=_STATE_CHANGING)
async def revoke_invite(invite_id: InviteId, principal: Administrator, state: OpenState) -> None:
    await state["links"].revoke_invite(invite_id, principal.actor)


@router.get("/audit")
async def audit(
    _: Administrator,
    state: OpenState,
    limit: Limit = 20,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> Page[AuditEntry]:
    """Returns the newest entries first; `after` is the id of the last entry of the previous page."""
    entries = await state["administration"].list_audit(limit + 1, after)
    return Page.of([AuditEntry.of(entry) for entry in entries], limit=limit)


async def _reset_link(account: Account, principal: Principal, state: State) -> OneTimeLink:
    return OneTimeLink.of(await state["links"].create_reset(account.id, principal.actor), state["public_url"])
