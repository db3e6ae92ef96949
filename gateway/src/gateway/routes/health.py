"""Alive and ready are different questions, and neither depends on the model: it may take minutes to load."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from gateway.errors import Unavailable

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
async def ready(request: Request) -> JSONResponse:
    missing = []
    for dependency in (request.state.storage, request.state.identity):
        try:
            await dependency.ping()
        except Unavailable as exc:
            missing.append(exc.dependency)
    if missing:
        return JSONResponse({"status": "unavailable", "missing": missing}, status_code=503)
    return JSONResponse({"status": "ok"})
