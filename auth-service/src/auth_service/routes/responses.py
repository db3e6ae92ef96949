"""Error responses, all of the form {"error": {"type", "code", "message", "param"}}, and the caching policy."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from auth_service.errors import AuthError, IntrospectionRefused, InvalidField, InvalidJson, StoreUnavailable

log: Final = logging.getLogger(__name__)

# Responses about credentials must not be cached. https://www.rfc-editor.org/rfc/rfc7662#section-4
_NO_STORE: Final = {"Cache-Control": "no-store"}
_TYPE_NAMES: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    bytes: "a body of another type",
    list: "an array",
    dict: "an object",
}
# The code and the expectation for each of pydantic's error types.
# https://docs.pydantic.dev/latest/errors/validation_errors/
_EXPECTED: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("missing_required_parameter", "a value"),
    "extra_forbidden": ("unknown_parameter", "no field of this name"),
    "string_type": ("invalid_type", "a string"),
    "model_attributes_type": ("invalid_type", "an object sent as application/json"),
}


class ErrorDetail(BaseModel):
    type: str
    code: str
    message: str
    param: str | None


class ErrorResponse(BaseModel):
    error: ErrorDetail


# For the OpenAPI document: any route, and nginx in front of it, may return an error of this form.
_ERROR_RESPONSE: Final[dict[str, Any]] = {"model": ErrorResponse}
_RETRY_AFTER: Final = {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}}
_RETRY_LATER_RESPONSE: Final = _ERROR_RESPONSE | {"headers": _RETRY_AFTER}
ERROR_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": _ERROR_RESPONSE,
    429: _RETRY_LATER_RESPONSE,
    503: _RETRY_LATER_RESPONSE,
}


async def no_store(response: Response) -> None:
    response.headers.update(_NO_STORE)


def install_error_handlers(app: FastAPI) -> None:
    app.exception_handler(AuthError)(_handle_auth_error)
    app.exception_handler(RequestValidationError)(_handle_validation_error)
    app.exception_handler(HTTPException)(_handle_http_exception)
    app.exception_handler(Exception)(_handle_unexpected_error)


def error_response(error: AuthError) -> Response:
    headers = dict(_NO_STORE)
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, IntrospectionRefused):
        headers["WWW-Authenticate"] = "Bearer"
    return _json_error(error.status, error.type, error.code, str(error), error.param, headers)


async def _handle_auth_error(_: Request, exc: AuthError) -> Response:
    if isinstance(exc, StoreUnavailable):
        log.error("database unavailable", extra={"reason": exc.reason})
    return error_response(exc)


async def _handle_validation_error(_: Request, exc: RequestValidationError) -> Response:
    return error_response(_to_auth_error(exc.errors()[0]))


async def _handle_http_exception(request: Request, exc: HTTPException) -> Response:
    kind = "not_found" if exc.status_code == 404 else "invalid_request_error"
    code = str(exc.detail).lower().replace(" ", "_")
    headers = {"Allow": _allowed_methods(request)} if exc.status_code == 405 else exc.headers or {}
    return _json_error(exc.status_code, kind, code, f"{exc.detail}.", None, {**_NO_STORE, **headers})


def _allowed_methods(request: Request) -> str:
    """Returns the methods of all routes with this path; Starlette names only those of the first match."""
    routes = [
        route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(request.scope["path"])
    ]
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}))


async def _handle_unexpected_error(_: Request, __: Exception) -> Response:
    message = "The server encountered an internal error, which has been logged."
    return _json_error(500, "server_error", "server_error", message, None, _NO_STORE)


def _to_auth_error(error: Mapping[str, Any]) -> AuthError:
    """Translates an error of pydantic's; the received value is described by its JSON type only."""
    param = str(error["loc"][-1])[:64] if len(error["loc"]) > 1 else None
    got = "none" if error["type"] == "missing" else _type_name(error.get("input"))
    if error["type"] == "json_invalid":
        return InvalidJson(error["ctx"]["error"])
    code, expected = _EXPECTED.get(error["type"], ("invalid_value", error["msg"]))
    return InvalidField(code, param, expected, got)


def _type_name(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "another type")


def _json_error(
    status: int, kind: str, code: str, message: str, param: str | None, headers: Mapping[str, str]
) -> JSONResponse:
    error = ErrorDetail(type=kind, code=code, message=message, param=param)
    return JSONResponse(ErrorResponse(error=error).model_dump(), status, headers)
