from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Header
from pydantic import Field

from auth_service.errors import IntrospectionRefused
from auth_service.introspection import Active
from auth_service.routes.answers import not_stored
from auth_service.routes.bodies import StrictModel
from auth_service.routes.forms import form_of
from auth_service.routes.state import ClientAddress, OpenState
from auth_service.tokens import Scope, same


class Question(StrictModel):
    """RFC 7662 2.1, and two additions of ours: `username`, and `client_address`, whom to throttle if not the caller."""

    token: str
    token_type_hint: str | None = None
    username: str | None = None
    client_address: Annotated[str, Field(max_length=64)] | None = None


class Inactive(StrictModel):
    active: Literal[False] = False


class ActiveToken(StrictModel):
    """RFC 7662 2.2; `exp` in Unix seconds, absent if the token is valid until it is taken back."""

    active: Literal[True] = True
    sub: str
    username: str
    scope: Scope
    token_type: Literal["session", "api_key", "password"]
    exp: int | None = None

    @classmethod
    def of(cls, found: Active) -> "ActiveToken":
        account = found.account
        return cls(
            sub=account.id, username=account.name, scope=found.scope, token_type=found.token_type, exp=found.expires_at
        )


_FORM: Final[dict[str, Any]] = {
    "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": Question.model_json_schema()}}}
}


def introspection_routes(credential: str) -> APIRouter:
    router = APIRouter(dependencies=[Depends(only_with(credential)), Depends(not_stored)])

    @router.post("/introspect", response_model_exclude_none=True, openapi_extra=_FORM)
    async def introspect(
        question: Annotated[Question, Depends(form_of(Question))], address: ClientAddress, state: OpenState
    ) -> ActiveToken | Inactive:
        introspection = state["introspection"]
        if question.username is None:
            found = await introspection.of_token(question.token)
        else:
            found = await introspection.of_user(question.username, question.token, question.client_address or address)
        return ActiveToken.of(found) if found else Inactive()

    return router


def only_with(credential: str) -> Callable[[str], Awaitable[None]]:
    """A dependency. Raises IntrospectionRefused."""

    async def check(authorization: Annotated[str, Header()] = "") -> None:
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() != "bearer" or not same(credential, given.strip()):
            raise IntrospectionRefused

    return check
