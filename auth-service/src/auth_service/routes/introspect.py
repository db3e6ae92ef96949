"""What only the gateway asks, with a credential of its own. nginx does not route it."""

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Header, Response
from pydantic import Field

from auth_service.accounts import UsageLimits
from auth_service.errors import IntrospectionRefused, InvalidField
from auth_service.introspection import Active, Introspection
from auth_service.routes.answers import not_stored
from auth_service.routes.bodies import StrictModel
from auth_service.routes.forms import form_of
from auth_service.routes.ids import UserId
from auth_service.routes.state import ClientAddress, OpenState
from auth_service.tokens import Scope, same


async def gateway(state: OpenState, authorization: Annotated[str, Header()] = "") -> None:
    """A dependency. Raises IntrospectionRefused."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "bearer" or not same(state["introspection_credential"].get_secret_value(), given.strip()):
        raise IntrospectionRefused


router: Final = APIRouter(dependencies=[Depends(gateway), Depends(not_stored)], include_in_schema=False)


class Question(StrictModel):
    """RFC 7662 2.1, and four additions of ours: `username`; `client_address`, whom to throttle if not the caller;
    instead of a token `credential`, to ask again about what was active before; and beside it `recheck`, when nobody
    used it and only a socket is open."""

    token: str | None = None
    token_type_hint: str | None = None
    username: str | None = None
    client_address: Annotated[str, Field(max_length=64)] | None = None
    credential: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    recheck: Literal["1"] | None = None


class Revocation(StrictModel):
    """RFC 7009 2.1."""

    token: str
    token_type_hint: str | None = None


class Inactive(StrictModel):
    active: Literal[False] = False


class Limits(StrictModel):
    """What is absent is the deployment's default."""

    messages_per_minute: int | None
    concurrent_answers: int | None
    tokens_per_day: int | None

    @classmethod
    def of(cls, limits: UsageLimits) -> "Limits":
        return cls(
            messages_per_minute=limits.messages_per_minute,
            concurrent_answers=limits.concurrent_answers,
            tokens_per_day=limits.tokens_per_day,
        )


class ActiveToken(StrictModel):
    """RFC 7662 2.2; `exp` in Unix seconds, absent if the token is valid until it is taken back."""

    active: Literal[True] = True
    sub: str
    username: str
    scope: Scope
    token_type: Literal["session", "api_key", "password", "ticket"]
    credential: str
    limits: Limits
    exp: int | None = None

    @classmethod
    def of(cls, found: Active) -> "ActiveToken":
        account = found.account
        return cls(
            sub=account.id,
            username=account.name,
            scope=found.scope,
            token_type=found.token_type,
            credential=found.credential,
            limits=Limits.of(account.limits),
            exp=found.expires_at,
        )


class Deletion(StrictModel):
    sub: str
    deleted_at: int


class Deletions(StrictModel):
    object: Literal["list"] = "list"
    data: list[Deletion]


@router.post("/introspect", response_model_exclude_none=True)
async def introspect(
    question: Annotated[Question, Depends(form_of(Question))], address: ClientAddress, state: OpenState
) -> ActiveToken | Inactive:
    found = await _found(question, state["introspection"], address)
    return ActiveToken.of(found) if found else Inactive()


@router.post("/revoke")
async def revoke(revocation: Annotated[Revocation, Depends(form_of(Revocation))], state: OpenState) -> Response:
    await state["introspection"].revoke(revocation.token)
    return Response(status_code=200)


@router.get("/deletions")
async def deletions(state: OpenState) -> Deletions:
    """Users whose data the gateway has yet to delete, the oldest first."""
    found = await state["stores"].deletions.oldest(100)
    return Deletions(data=[Deletion(sub=account_id, deleted_at=at) for account_id, at in found])


@router.delete("/deletions/{id}", status_code=204)
async def confirm_deletion(user_id: UserId, state: OpenState) -> None:
    """The user's data is gone. To confirm what nobody asks for is no error."""
    await state["stores"].deletions.confirm(user_id)


async def _found(question: Question, introspection: Introspection, address: str) -> Active | None:
    if question.credential is not None:
        if question.token is not None or question.username is not None:
            raise InvalidField("invalid_value", "credential", "it alone", "a token or a user name beside it")
        return await introspection.of_credential(question.credential, use=question.recheck is None)
    if question.recheck is not None:
        raise InvalidField("missing_required_parameter", "credential", "what to check again", "none")
    if question.token is None:
        raise InvalidField("missing_required_parameter", "token", "a value", "none")
    if question.username is None:
        return await introspection.of_token(question.token)
    return await introspection.of_user(question.username, question.token, question.client_address or address)
