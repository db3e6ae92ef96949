"""Routes for the gateway, which authenticates with its own credential. nginx does not route them."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Header, Response
from pydantic import Field

from auth_service.errors import IntrospectionRefused, InvalidField
from auth_service.introspection import ActiveToken, Introspection
from auth_service.routes.forms import form_body
from auth_service.routes.ids import UserId
from auth_service.routes.request_bodies import StrictModel
from auth_service.routes.resources import UsageLimitsBody
from auth_service.routes.responses import no_store
from auth_service.routes.state import ClientAddress, OpenState
from auth_service.tokens import Scope, equal_in_constant_time


async def require_gateway(state: OpenState, authorization: Annotated[str, Header()] = "") -> None:
    """A dependency. Raises IntrospectionRefused."""
    scheme, _, given = authorization.partition(" ")
    expected = state["introspection_credential"].get_secret_value()
    if scheme.lower() != "bearer" or not equal_in_constant_time(expected, given.strip()):
        raise IntrospectionRefused


router: Final = APIRouter(dependencies=[Depends(require_gateway), Depends(no_store)], include_in_schema=False)


class IntrospectionRequest(StrictModel):
    """RFC 7662 2.1 with four extensions: `username`; `client_address`, the address to throttle instead of the caller's;
    `credential` instead of a token, to check again a token that was active before; and with it `recheck`, if the check
    is for an idle socket and must not count as use."""

    token: str | None = None
    token_type_hint: str | None = None
    username: str | None = None
    client_address: Annotated[str, Field(max_length=64)] | None = None
    credential: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    recheck: Literal["1"] | None = None


class RevocationRequest(StrictModel):
    """RFC 7009 2.1."""

    token: str
    token_type_hint: str | None = None


class InactiveResponse(StrictModel):
    active: Literal[False] = False


class ActiveResponse(StrictModel):
    """RFC 7662 2.2; `exp` in Unix seconds, absent if the token is valid until it is revoked."""

    active: Literal[True] = True
    sub: str
    username: str
    scope: Scope
    token_type: Literal["session", "api_key", "password", "ticket"]
    credential: str
    # Absent limits have the deployment's default.
    limits: UsageLimitsBody
    exp: int | None = None

    @classmethod
    def of(cls, active: ActiveToken) -> "ActiveResponse":
        account = active.account
        return cls(
            sub=account.id,
            username=account.name,
            scope=active.scope,
            token_type=active.token_type,
            credential=active.credential,
            limits=UsageLimitsBody.of(account.limits),
            exp=active.expires_at,
        )


class Deletion(StrictModel):
    sub: str
    deleted_at: int


class Deletions(StrictModel):
    object: Literal["list"] = "list"
    data: list[Deletion]


@router.post("/introspect", response_model_exclude_none=True)
async def introspect(
    body: Annotated[IntrospectionRequest, Depends(form_body(IntrospectionRequest))],
    address: ClientAddress,
    state: OpenState,
) -> ActiveResponse | InactiveResponse:
    active = await _introspect(body, state["introspection"], address)
    return ActiveResponse.of(active) if active else InactiveResponse()


@router.post("/revoke")
async def revoke(
    body: Annotated[RevocationRequest, Depends(form_body(RevocationRequest))], state: OpenState
) -> Response:
    await state["introspection"].revoke(body.token)
    return Response(status_code=200)


@router.get("/deletions")
async def deletions(state: OpenState) -> Deletions:
    """Returns the deleted users whose data the gateway must delete, the oldest first."""
    pending = await state["stores"].deletions.list_oldest(100)
    return Deletions(data=[Deletion(sub=account_id, deleted_at=at) for account_id, at in pending])


@router.delete("/deletions/{id}", status_code=204)
async def confirm_deletion(user_id: UserId, state: OpenState) -> None:
    """Confirms that the user's data is deleted. Idempotent."""
    await state["stores"].deletions.confirm(user_id)


async def _introspect(body: IntrospectionRequest, introspection: Introspection, address: str) -> ActiveToken | None:
    if body.credential is not None:
        if body.token is not None or body.username is not None:
            raise InvalidField("invalid_value", "credential", "neither token nor username with it", "one of them")
        return await introspection.introspect_credential(body.credential, touch=body.recheck is None)
    if body.recheck is not None:
        raise InvalidField("missing_required_parameter", "credential", "a value with recheck", "none")
    if body.token is None:
        raise InvalidField("missing_required_parameter", "token", "a value", "none")
    if body.username is None:
        return await introspection.introspect_token(body.token)
    return await introspection.introspect_for_user(body.username, body.token, body.client_address or address)
