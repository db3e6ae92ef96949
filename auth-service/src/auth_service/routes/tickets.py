"""Tickets: what a page of another origin opens its sockets with, and so the one place that speaks CORS.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from typing import Final, Literal

from fastapi import APIRouter, Depends, Request, Response

from auth_service.routes.answers import not_stored
from auth_service.routes.bodies import StrictJsonRoute, StrictModel
from auth_service.routes.origin import same_origin
from auth_service.routes.state import OpenState
from auth_service.routes.who import Identified


class Ticket(StrictModel):
    object: Literal["ticket"] = "ticket"
    ticket: str
    expires_at: int


async def readable_there(request: Request, response: Response, state: OpenState) -> None:
    """A dependency: a page in AUTH_ALLOWED_ORIGINS may read the answer."""
    origin = request.headers.get("origin")
    response.headers["Vary"] = "Origin"
    if origin in state["allowed_origins"]:
        response.headers["Access-Control-Allow-Origin"] = str(origin)
        response.headers["Access-Control-Allow-Credentials"] = "true"


router: Final = APIRouter(
    prefix="/auth", route_class=StrictJsonRoute, dependencies=[Depends(not_stored), Depends(readable_there)]
)


@router.post("/tickets", dependencies=[Depends(same_origin)])
async def create_ticket(asker: Identified, state: OpenState) -> Ticket:
    ticket, token = await state["tickets"].issue(asker.account, asker.credential)
    return Ticket(ticket=token, expires_at=ticket.expires_at)


@router.options("/tickets", status_code=204, dependencies=[Depends(same_origin)])
async def may_ask(response: Response) -> None:
    """A browser asks this before it sends the header with a key."""
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = "Authorization"
    response.headers["Access-Control-Max-Age"] = "600"
