import asyncio
from typing import Final

from fastapi import APIRouter, Response

from auth_service.errors import StoreUnavailable
from auth_service.routes.state import OpenState

_TIMEOUT_SECONDS: Final = 2

router: Final = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def live() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def ready(response: Response, state: OpenState) -> dict[str, str | list[str]]:
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            await state["stores"].database.ping()
    except (StoreUnavailable, TimeoutError):
        response.status_code = 503
        return {"status": "unavailable", "missing": ["database"]}
    return {"status": "ok"}
