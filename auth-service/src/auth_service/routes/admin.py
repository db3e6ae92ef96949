"""What administrators do. Every route names the dependency that lets it."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from auth_service.accounts import Account, Role
from auth_service.administration import Change
from auth_service.errors import RegistrationClosed
from auth_service.one_time_links import INVITE_SECONDS
from auth_service.registration import Mode
from auth_service.routes.answers import not_stored
from auth_service.routes.bodies import Name, NewPassword, StrictJsonRoute, StrictModel
from auth_service.routes.ids import InviteId, UserId, well_formed
from auth_service.routes.origin import same_origin
from auth_service.routes.resources import AuditEntry, Invite, OneTimeLink, Page, User
from auth_service.routes.state import OpenState, State
from auth_service.routes.who import Administrator, Asker

router: Final = APIRouter(prefix="/auth/admin", route_class=StrictJsonRoute, dependencies=[Depends(not_stored)])
_CHANGES: Final = [Depends(same_origin)]
_YEAR_SECONDS: Final = 365 * 86400

Limit = Annotated[int, Query(ge=1, le=100)]
Number = Annotated[int, Field(ge=0, le=2**53)]


class NewUser(StrictModel):
    """Without a password the answer has a one-time link with which the user chooses one."""

    username: Name
    password: NewPassword | None = None
    role: Annotated[Role, Field(strict=False)] = Role.USER
    email: str | None = None


class CreatedUser(User):
    reset: OneTimeLink | None = None


class Limits(StrictModel):
    """What is left out stays; null is the deployment's default."""

    messages_per_minute: Number | None = None
    concurrent_answers: Number | None = None
    tokens_per_day: Number | None = None


class ChangedUser(StrictModel):
    """What is left out stays."""

    role: Annotated[Role, Field(strict=False)] | None = None
    disabled: bool | None = None
    email: str | None = None
    limits: Limits | None = None


class NewInvite(StrictModel):
    expires_in_seconds: Annotated[int, Field(ge=60, le=_YEAR_SECONDS)] = INVITE_SECONDS


@router.get("/users")
async def users(_: Administrator, state: OpenState, limit: Limit = 20, after: str | None = None) -> Page[User]:
    after = after if after is None or well_formed(after) else ""
    found = await state["administration"].page(limit + 1, after)
    return Page.of([User.of(account) for account in found], limit=limit)


@router.post("/users", dependencies=_CHANGES)
async def create_user(body: NewUser, asker: Administrator, state: OpenState) -> CreatedUser:
    account = await state["administration"].add_user(body.username, body.password, body.role, asker.actor, body.email)
    reset = None if body.password is not None else await _reset_link(account, asker, state)
    return CreatedUser(**dict(User.of(account)), reset=reset)


@router.get("/users/{id}")
async def user(user_id: UserId, _: Administrator, state: OpenState) -> User:
    return User.of(await state["administration"].with_id(user_id))


@router.patch("/users/{id}", dependencies=_CHANGES)
async def change_user(user_id: UserId, body: ChangedUser, asker: Administrator, state: OpenState) -> User:
    limits = body.limits.model_dump(exclude_unset=True) if body.limits else {}
    email = body.email or "" if "email" in body.model_fields_set else None
    change = Change(body.role, body.disabled, email, limits)
    return User.of(await state["administration"].change(user_id, change, asker.actor))


@router.delete("/users/{id}", status_code=204, dependencies=_CHANGES)
async def delete_user(user_id: UserId, asker: Administrator, state: OpenState) -> None:
    administration = state["administration"]
    await administration.delete(await administration.with_id(user_id), asker.actor)


@router.post("/users/{id}/reset", dependencies=_CHANGES)
async def create_reset(user_id: UserId, asker: Administrator, state: OpenState) -> OneTimeLink:
    return await _reset_link(await state["administration"].with_id(user_id), asker, state)


@router.delete("/users/{id}/sessions", status_code=204, dependencies=_CHANGES)
async def revoke_sessions(user_id: UserId, asker: Administrator, state: OpenState) -> None:
    account = await state["administration"].with_id(user_id)
    await state["sessions"].revoke_others(account.id, None, asker.actor)


@router.get("/invites")
async def invites(_: Administrator, state: OpenState) -> Page[Invite]:
    return Page.of([Invite.of(link) for link in await state["links"].invites()])


@router.post("/invites", dependencies=_CHANGES)
async def create_invite(body: NewInvite, asker: Administrator, state: OpenState) -> OneTimeLink:
    if state["registration"].setting is Mode.CLOSED:
        raise RegistrationClosed("(AUTH_REGISTRATION is closed), not even with an invite")
    return OneTimeLink.of(await state["links"].invite(asker.actor, body.expires_in_seconds), state["public_url"])


@router.delete("/invites/{id}", status_code=204, dependencies=_CHANGES)
async def revoke_invite(invite_id: InviteId, asker: Administrator, state: OpenState) -> None:
    await state["links"].revoke_invite(invite_id, asker.actor)


@router.get("/audit")
async def audit(
    _: Administrator,
    state: OpenState,
    limit: Limit = 20,
    after: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> Page[AuditEntry]:
    """The newest first; `after` is the id of the last entry of the page before."""
    found = await state["administration"].audit(limit + 1, after)
    return Page.of([AuditEntry.of(entry) for entry in found], limit=limit)


async def _reset_link(account: Account, asker: Asker, state: State) -> OneTimeLink:
    return OneTimeLink.of(await state["links"].reset(account.id, asker.actor), state["public_url"])
