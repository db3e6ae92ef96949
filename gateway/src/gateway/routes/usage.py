"""GET /v1/usage: what a user has used, an addition."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from gateway.identity.introspection import User
from gateway.protocol.usage import KEPT_DAYS, UsageOfDays
from gateway.routes import queries
from gateway.routes.answers import answer
from gateway.routes.credentials import current_user
from gateway.routes.openapi import described

router = APIRouter(dependencies=[Depends(queries.only_known)])


@router.get("/v1/usage", summary="What one has used, by day", **described(UsageOfDays, refuses=(400,)))
async def usage(
    request: Request,
    user: Annotated[User, Depends(current_user)],
    days: Annotated[int, Query(ge=1, le=KEPT_DAYS)] = 30,
) -> Response:
    return answer(UsageOfDays(await request.state.accounting.read(user.id, days)))
