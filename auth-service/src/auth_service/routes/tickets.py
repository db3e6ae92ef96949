"""Tickets, with which pages of another origin open sockets: the only routes that support CORS.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from typing import Final, Literal

from fastapi import APIRouter, Depends, Request, Response

from auth_service.routes.origin import require_same_origin
from auth_service.routes.principal import Authenticated
from auth_service.routes.request_bodies import StrictJsonRoute, StrictModel
from auth_service.routes.responses import no_store
from auth_service.routes.state import OpenState


class Ticket(StrictModel):
    object: Literal["ticket"] = "ticket"
    ticket: str
    expires_at: int


async def allow_cross_origin_read(request: Request, response: Response, state: OpenState) -> None:
    """A dependency: allows pages of AUTH_ALLOWED_ORIGINS to read the response."""
    origin = request.headers.get("origin")
    response.headers["Vary"] = "Origin"
    if origin in state["allowed_origins"]:
        response.headers["Access-Control-Allow-Origin"] = str(origin)
        response.headers["Access-Control-Allow-Credentials"] = "true"


router: Final = APIRouter(
    prefix="/auth", route_class=StrictJsonRoute, dependencies=[Depends(no_store), Depends(allow_cross_origin_read)]
)


@router.post("/tickets", dependencies=[Depends(require_same_origin)])
async def create_ticket(principal: Authenticated, state: OpenState) -> Ticket:
    ticket, token = await state["tickets"].issue(principal.account, principal.credential)
    return Ticket(ticket=token, expires_at=ticket.expires_at)


@router.options("/tickets", status_code=204, dependencies=[Depends(require_same_origin)])
async def preflight(response: Response) -> None:
    """Answers the CORS preflight request for the Authorization header."""
    response.headers["Access-Control-Allow-Methods"] = "POST"
    response.headers["Access-Control-Allow-Headers"] = "Authorization"
    response.headers["Access-Control-Max-Age"] = "600"
