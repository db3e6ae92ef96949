"""The OpenAPI document of the HTTP side: each route says what it takes, what it answers, with what it may refuse.

The schemas are made of the types that read the requests and write the answers, so they can not say anything else.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from types import UnionType
from typing import Any

import msgspec
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from gateway.protocol.events import ErrorAnswer
from gateway.protocol.input_items import InputMessage
from gateway.protocol.resources import encoded

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_ANY_ROUTE = (401, 429, 503)
_ANY_BODY = (400, 403, 413, 415)
_RETRY_AFTER = {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}}
_HEADERS = {429: _RETRY_AFTER, 503: _RETRY_AFTER}
_CREDENTIALS = {
    "key": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": "parley_session"},
    "session_over_tls": {"type": "apiKey", "in": "cookie", "name": "__Host-parley_session"},
}


def described(
    given: type | UnionType,
    *,
    body: type | None = None,
    body_required: bool = True,
    neutral: Mapping[str, Sequence[object]] | None = None,
    examples: Mapping[str, object] | None = None,
    streams: bool = False,
    refuses: tuple[int, ...] = (),
    links: Schema | None = None,
) -> dict[str, Any]:
    """Keyword arguments of a route. `neutral`: fields of the body with the only values they may have; `refuses`: the
    statuses of the route's own errors; `links`: what can be done with what it answers."""
    schema, answers = _schemas(given)
    content = _as_json(schema) | ({"text/event-stream": {"schema": {"type": "string"}}} if streams else {})
    extra: Schema = {"x-answers": _complete(answers)}
    if body is not None:
        schema, requests = _schemas(body)
        further = {name: {"enum": list(values)} for name, values in (neutral or {}).items()}
        requests[body.__name__]["properties"] |= further
        taken = _as_json(schema)
        taken["application/json"]["examples"] = {name: {"value": value} for name, value in (examples or {}).items()}
        extra |= {"x-requests": requests, "requestBody": {"required": body_required, "content": taken}}
    refusals = refused_with(*refuses, *_ANY_ROUTE, *(_ANY_BODY if body else ()))
    return {"responses": {200: {"content": content, "links": links or {}}} | refusals, "openapi_extra": extra}


def linked(path: str, *methods: str, **parameters: str) -> Schema:
    """To operations of a path; `parameters` are runtime expressions such as `$response.body#/id`."""
    pointer = path.replace("/", "~1")
    name = re.sub(r"\W+", "-", path).strip("-")
    return {
        f"{method}-{name}": {"operationRef": f"#/paths/{pointer}/{method}", "parameters": parameters}
        for method in methods
    }


def refused_with(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema, _ = _schemas(ErrorAnswer)
    return {
        status: {"content": _as_json(schema), "headers": _HEADERS.get(status, {})} for status in sorted({*statuses})
    }


def publish(app: FastAPI) -> None:
    """Without a credential: whoever makes a client of it has none yet."""
    body = encoded(document(app.routes))

    async def openapi() -> Response:
        return Response(body, media_type="application/json")

    app.add_api_route("/v1/openapi.json", openapi, include_in_schema=False)


def document(routes: Sequence[BaseRoute]) -> Schema:
    whole = get_openapi(title="Parley", version=version("parley-gateway"), routes=routes)
    answers, requests = _complete(_schemas(ErrorAnswer)[1]), dict[str, Schema]()
    for operation in (one for path in whole["paths"].values() for one in path.values()):
        # The web framework's own error for a wrong parameter: ours is a 400 as for a wrong field.
        operation["responses"].pop("422", None)
        answers |= operation.pop("x-answers", {})
        requests |= operation.pop("x-requests", {})
    # A client may leave out what an answer never does, so of a type that is both the request's schema counts.
    schemas = answers | _as_read(requests)
    whole["components"] = {"schemas": schemas, "securitySchemes": _CREDENTIALS}
    whole["security"] = [{name: []} for name in _CREDENTIALS]
    return whole


def _as_json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _schemas(kind: type | UnionType) -> tuple[Schema, dict[str, Schema]]:
    """Of a type, and by name of all that it consists of."""
    (schema,), schemas = msgspec.json.schema_components((kind,), ref_template=_REFERENCE)
    for one in schemas.values():
        if "description" in one:
            one["description"] = inspect.cleandoc(one["description"])
    return schema, schemas


def _as_read(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """A type needs its tag only where it is one of several, and a message may go without: SDKs write it so."""
    one_of_several = set(_choices(schemas)) - {_REFERENCE.format(name=InputMessage.__name__)}
    for name, schema in schemas.items():
        tag, of = next(iter(schema["properties"].items()))
        if len(of.get("enum", ())) == 1 and _REFERENCE.format(name=name) not in one_of_several:
            schema["required"].remove(tag)
    return schemas


def _choices(schema: object) -> Iterator[str]:
    """What the unions in it consist of."""
    if isinstance(schema, dict):
        yield from schema.get("discriminator", {}).get("mapping", {}).values()
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list | tuple) else ()
    for one in inner:
        yield from _choices(one)


def _complete(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Those of an answer: a field is there also if it has its default value, unless that is to be absent."""
    for schema in schemas.values():
        required = schema.get("required", [])
        schema["required"] = [name for name, of in schema["properties"].items() if name in required or "default" in of]
    return schemas
