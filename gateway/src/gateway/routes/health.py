"""Liveness and readiness, neither of which depends on the model: it may take minutes to load."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from gateway.errors import Unavailable
from gateway.routes.ports import HealthCheck
from gateway.routes.state import OpenState

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def ready(state: OpenState) -> JSONResponse:
    checks: tuple[HealthCheck, ...] = state["storage_health"], state["identity"]
    missing = []
    for check in checks:
        try:
            await check.ping()
        except Unavailable as exc:
            missing.append(exc.dependency)
    if missing:
        return JSONResponse({"status": "unavailable", "missing": missing}, status_code=503)
    return JSONResponse({"status": "ok"})
