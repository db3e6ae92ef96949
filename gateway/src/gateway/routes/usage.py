"""GET /v1/usage: the tokens a user has used, an addition."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from gateway.protocol.usage import RETENTION_DAYS, UsageOfDays
from gateway.routes.credentials import CurrentUser
from gateway.routes.json_responses import json_response
from gateway.routes.openapi import describe
from gateway.routes.request_validation import reject_unknown_parameters
from gateway.routes.state import OpenState

router = APIRouter(dependencies=[Depends(reject_unknown_parameters)])


@router.get("/v1/usage", summary="Retrieve usage by day", **describe(UsageOfDays, errors=(400,)))
async def usage(
    state: OpenState, user: CurrentUser, days: Annotated[int, Query(ge=1, le=RETENTION_DAYS)] = 30
) -> Response:
    return json_response(UsageOfDays(await state["usage"].read(user.id, days)))
