"""Every failure leaves as {"error": {"type", "code", "message", "param"}}."""

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

# An answer about who somebody is belongs into no cache. https://www.rfc-editor.org/rfc/rfc7662#section-4
_NO_STORE: Final = {"Cache-Control": "no-store"}
_KINDS: Final[Mapping[type, str]] = {
    type(None): "nothing",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    bytes: "a body of another type",
    list: "an array",
    dict: "an object",
}
# By pydantic's error types. https://docs.pydantic.dev/latest/errors/validation_errors/
_EXPECTED: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("missing_required_parameter", "a value"),
    "extra_forbidden": ("unknown_parameter", "no such field"),
    "string_type": ("invalid_type", "a string"),
    "model_attributes_type": ("invalid_type", "an object sent as application/json"),
}


class ErrorDetail(BaseModel):
    type: str
    code: str
    message: str
    param: str | None


class ErrorAnswer(BaseModel):
    error: ErrorDetail


# How the OpenAPI document tells of them: any route may refuse, and nginx before it, and both say it in this form.
_REFUSAL: Final[dict[str, Any]] = {"model": ErrorAnswer}
_RETRY_AFTER: Final = {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}}
_LATER: Final = _REFUSAL | {"headers": _RETRY_AFTER}
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {"4XX": _REFUSAL, 429: _LATER, 503: _LATER}


async def not_stored(response: Response) -> None:
    response.headers.update(_NO_STORE)


def install(app: FastAPI) -> None:
    app.exception_handler(AuthError)(_expected)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_unrouted)
    app.exception_handler(Exception)(_unexpected)


def answer(error: AuthError) -> Response:
    headers = dict(_NO_STORE)
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, IntrospectionRefused):
        headers["WWW-Authenticate"] = "Bearer"
    return _body(error.status, error.type, error.code, str(error), error.param, headers)


async def _expected(_: Request, exc: AuthError) -> Response:
    if isinstance(exc, StoreUnavailable):
        log.error("database unavailable", extra={"reason": exc.reason})
    return answer(exc)


async def _invalid(_: Request, exc: RequestValidationError) -> Response:
    return answer(_first(exc.errors()[0]))


async def _unrouted(request: Request, exc: HTTPException) -> Response:
    kind = "not_found" if exc.status_code == 404 else "invalid_request_error"
    code = str(exc.detail).lower().replace(" ", "_")
    headers = {"Allow": _known_methods(request)} if exc.status_code == 405 else exc.headers or {}
    return _body(exc.status_code, kind, code, f"{exc.detail}.", None, {**_NO_STORE, **headers})


def _known_methods(request: Request) -> str:
    """Of all routes of this address: Starlette names those of the first it finds."""
    found = [one for one in iter_route_contexts(request.app.routes) if one.path_regex.match(request.scope["path"])]
    return ", ".join(sorted({method for one in found for method in one.methods or ()}))


async def _unexpected(_: Request, __: Exception) -> Response:
    return _body(500, "server_error", "server_error", "This is a fault of the server; it has been logged.", None, {})


def _first(error: Mapping[str, Any]) -> AuthError:
    """pydantic's account of what is wrong as ours: which field, what was expected, what kind of thing came."""
    param = str(error["loc"][-1])[:64] if len(error["loc"]) > 1 else None
    got = "none" if error["type"] == "missing" else _kind(error.get("input"))
    if error["type"] == "json_invalid":
        return InvalidJson(error["ctx"]["error"])
    code, expected = _EXPECTED.get(error["type"], ("invalid_value", error["msg"]))
    return InvalidField(code, param, expected, got)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "something else")


def _body(
    status: int, kind: str, code: str, message: str, param: str | None, headers: Mapping[str, str]
) -> JSONResponse:
    error = ErrorDetail(type=kind, code=code, message=message, param=param)
    return JSONResponse(ErrorAnswer(error=error).model_dump(), status, headers)
