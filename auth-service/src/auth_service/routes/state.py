"""What the lifespan opens, and how a route gets it.

Dependencies are coroutines even if they await nothing: FastAPI sends a plain function through its thread pool.
"""

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from auth_service.introspection import Introspection
from auth_service.logins import Logins
from auth_service.sessions import Sessions
from auth_service.store.database import Database


class State(TypedDict):
    database: Database
    logins: Logins
    sessions: Sessions
    introspection: Introspection


async def _state(request: Request) -> State:
    # FastAPI does not take Request[State] as an annotation, so the type is stated here, once.
    return cast("State", request.state)


OpenState = Annotated[State, Depends(_state)]


async def client_address(request: Request) -> str:
    return request.client.host if request.client else "unknown"


ClientAddress = Annotated[str, Depends(client_address)]
