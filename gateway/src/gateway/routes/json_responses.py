"""Responses whose body is one JSON object: a resource, or an error."""

from collections.abc import Mapping

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException

from gateway.errors import InternalError, InvalidRequest, MethodNotAllowed, NotFound, ParleyError
from gateway.protocol.resources import encoded


def json_response(resource: object) -> Response:
    return Response(encoded(resource), media_type="application/json")


def error_response(
    error: ParleyError, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """`status` and `headers` override the error's own."""
    body = {"error": error.body()}
    return JSONResponse(body, status_code=status or error.status, headers={**error.headers(), **(headers or {})})


async def handle_error(request: Request, exc: Exception) -> JSONResponse:
    """The handler of every exception that a route, or the web framework before it, raises."""
    match exc:
        case ParleyError():
            return error_response(exc)
        case HTTPException(status_code=404):
            return error_response(NotFound("path"))
        case HTTPException(status_code=405):
            return error_response(MethodNotAllowed(request.method, _allowed_methods(request)))
        case HTTPException():
            return error_response(InvalidRequest(str(exc.detail)), status=exc.status_code, headers=exc.headers)
        case RequestValidationError():
            first = exc.errors()[0]
            field = ".".join(str(part) for part in first["loc"][1:])
            return error_response(InvalidRequest(f"`{field}`: {first['msg']}", param=field, code="invalid_value"))
        case _:
            return error_response(InternalError())


def _allowed_methods(request: Request) -> list[str]:
    """Of all routes with this path, those with the fewest placeholders; the framework reports only the first's."""
    routes = [one for one in iter_route_contexts(request.app.routes) if one.methods]
    matching = [one for one in routes if one.path_regex.match(request.scope["path"])]
    closest = min((str(one.path_format) for one in matching), key=lambda path: path.count("{"))
    return sorted({method for one in matching if one.path_format == closest for method in one.methods or ()})
