"""Paths and methods; errors are those of vLLM's web framework."""

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from engines.scripted.chunks import to_json
from engines.scripted.connection import Connection, Request
from engines.scripted.errors import EngineError, RoutingError

# A dict is sent as JSON, a text with its content type, None as an empty body.
Reply: TypeAlias = dict[str, Any] | tuple[str, str] | None
Routes: TypeAlias = Mapping[str, Mapping[str, Callable[[Request], Reply]]]


def dispatch(routes: Routes, request: Request) -> Reply:
    methods = routes.get(request.path)
    if methods is None:
        raise RoutingError(HTTPStatus.NOT_FOUND, "Not Found")
    require_method(request, methods)
    return methods[request.method](request)


def require_method(request: Request, methods: Iterable[str]) -> None:
    if request.method not in methods:
        raise RoutingError(HTTPStatus.METHOD_NOT_ALLOWED, "Method Not Allowed", allow=", ".join(methods))


def send_reply(connection: Connection, content: Reply) -> None:
    if content is None:
        connection.respond(HTTPStatus.OK, b"")
    elif isinstance(content, tuple):
        text, content_type = content
        connection.respond(HTTPStatus.OK, text.encode(), content_type)
    else:
        connection.respond(HTTPStatus.OK, to_json(content), "application/json")


def send_error(connection: Connection, error: EngineError) -> None:
    headers = [f"allow: {error.allow}"] if isinstance(error, RoutingError) and error.allow else []
    connection.respond(error.status, to_json(error.body()), "application/json", headers)
