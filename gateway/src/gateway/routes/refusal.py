"""An error as an HTTP answer."""

from collections.abc import Mapping

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from gateway.errors import InternalError, InvalidRequest, MethodNotAllowed, NotFound, ParleyError


def refusal(error: ParleyError, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """With the error's own status and headers, unless the web framework knows better."""
    body = {"error": error.body()}
    return JSONResponse(body, status_code=status or error.status, headers={**error.headers(), **(headers or {})})


async def refused(request: Request, exc: Exception) -> JSONResponse:
    """For whatever a route, or the web framework before it, has raised."""
    match exc:
        case ParleyError():
            return refusal(exc)
        case HTTPException(status_code=404):
            return refusal(NotFound("path"))
        case HTTPException(status_code=405):
            return refusal(MethodNotAllowed(request.method, _known_methods(request)))
        case HTTPException():
            return refusal(InvalidRequest(str(exc.detail)), status=exc.status_code, headers=exc.headers)
        case RequestValidationError():
            first = exc.errors()[0]
            field = ".".join(str(part) for part in first["loc"][1:])
            return refusal(InvalidRequest(f"`{field}`: {first['msg']}", param=field, code="invalid_value"))
        case _:
            return refusal(InternalError())


def _known_methods(request: Request) -> list[str]:
    """Of all routes of this address, the one with the fewest placeholders; the framework tells only the first's."""
    routes = [one for one in iter_route_contexts(request.app.routes) if one.methods]
    found = [one for one in routes if one.path_regex.match(request.scope["path"])]
    closest = min((str(one.path_format) for one in found), key=lambda path: path.count("{"))
    return sorted({method for one in found if one.path_format == closest for method in one.methods or ()})
