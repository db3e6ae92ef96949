"""The OpenAPI document of the HTTP API: each route describes its body, its responses and its errors.

The schemas are derived from the types that decode the requests and encode the responses, so the two cannot differ.
"""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from types import UnionType
from typing import Any, get_args

import msgspec
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from gateway.protocol.events import ErrorResponse
from gateway.protocol.input_items import InputItem, InputMessage
from gateway.protocol.items import InputText, OutputText, ReasoningText, SummaryText
from gateway.protocol.resources import encoded

Schema = dict[str, Any]

_PARTS = (InputText, OutputText, ReasoningText, SummaryText)
_INPUT_TYPES = (*get_args(InputItem), *_PARTS)
_REFERENCE = "#/components/schemas/{name}"
_ERRORS_OF_ANY_ROUTE = (401, 429, 503)
_ERRORS_OF_ANY_BODY = (400, 403, 413, 415)
_RETRY_AFTER = {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}}
_HEADERS = dict.fromkeys((429, 502, 503), _RETRY_AFTER)
# Where a route's schemas wait until `document` collects them as components.
_REQUEST_SCHEMAS = "x-requests"
_RESPONSE_SCHEMAS = "x-responses"
_CREDENTIALS = {
    "key": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": "parley_session"},
    "session_over_tls": {"type": "apiKey", "in": "cookie", "name": "__Host-parley_session"},
}


@dataclass(frozen=True, slots=True)
class Body:
    """`neutral`: fields and the only values each may have; `rules`: schemas of gateway.routes.openapi_rules."""

    kind: type
    required: bool = True
    neutral: Mapping[str, Sequence[object]] = field(default_factory=dict)
    rules: Sequence[Schema] = ()
    examples: Mapping[str, object] = field(default_factory=dict)

    def describe(self) -> Schema:
        schema, schemas = _schemas(self.kind)
        neutral = {name: {"enum": list(values)} for name, values in self.neutral.items()}
        schemas[self.kind.__name__]["properties"] |= neutral
        if self.rules:
            schemas[self.kind.__name__]["allOf"] = list(self.rules)
        content = _as_json(schema)
        content["application/json"]["examples"] = {name: {"value": value} for name, value in self.examples.items()}
        return {_REQUEST_SCHEMAS: schemas, "requestBody": {"required": self.required, "content": content}}


def describe(
    resource: type | UnionType,
    *,
    body: Body | None = None,
    streams: Sequence[type] = (),
    errors: tuple[int, ...] = (),
    links: Schema | None = None,
) -> dict[str, Any]:
    """Returns keyword arguments of a route. `streams`: the events it may send instead of the resource; `errors`: the
    statuses of its own errors; `links`: operations on the resource it returns."""
    schema, schemas = _schemas(resource)
    content = _as_json(schema)
    if streams:
        event, event_schemas = _schemas(*streams)
        content["text/event-stream"] = {"schema": _event_stream(event)}
        schemas |= event_schemas
    described_errors = describe_errors(*errors, *_ERRORS_OF_ANY_ROUTE, *(_ERRORS_OF_ANY_BODY if body else ()))
    return {
        "responses": {200: {"content": content, "links": links or {}}} | described_errors,
        "openapi_extra": {_RESPONSE_SCHEMAS: _require_always_present(schemas)} | (body.describe() if body else {}),
    }


def link(path: str, *methods: str, **parameters: str) -> Schema:
    """Links to operations of a path; `parameters` are runtime expressions such as `$response.body#/id`."""
    pointer = path.replace("/", "~1")
    name = re.sub(r"\W+", "-", path).strip("-")
    return {
        f"{method}-{name}": {"operationRef": f"#/paths/{pointer}/{method}", "parameters": parameters}
        for method in methods
    }


def describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema, _ = _schemas(ErrorResponse)
    return {
        status: {"content": _as_json(schema), "headers": _HEADERS.get(status, {})} for status in sorted({*statuses})
    }


def publish(app: FastAPI) -> None:
    """Without a credential: a generator of clients has none."""
    body = encoded(document(app.routes))

    async def openapi() -> Response:
        return Response(body, media_type="application/json")

    app.add_api_route("/v1/openapi.json", openapi, include_in_schema=False)


def document(routes: Sequence[BaseRoute]) -> Schema:
    openapi = get_openapi(title="Parley", version=version("parley-gateway"), routes=routes)
    responses, requests = _require_always_present(_schemas(ErrorResponse)[1]), dict[str, Schema]()
    for operation in (one for path in openapi["paths"].values() for one in path.values()):
        # The web framework's own error for an invalid parameter: ours is a 400, as for an invalid field.
        if operation["responses"].get("422", {}).get("description") == "Validation Error":
            del operation["responses"]["422"]
        responses |= operation.pop(_RESPONSE_SCHEMAS, {})
        requests |= operation.pop(_REQUEST_SCHEMAS, {})
    # A request may omit fields that a response always has, so for a type of both the request's schema is used.
    schemas = responses | _relax_for_requests(requests)
    openapi["components"] = {"schemas": schemas, "securitySchemes": _CREDENTIALS}
    openapi["security"] = [{name: []} for name in _CREDENTIALS]
    return openapi


def _as_json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _event_stream(event: Schema) -> Schema:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": event}
    return {"type": "object", "required": ["data"], "properties": {"data": {"anyOf": [{"const": "[DONE]"}, data]}}}


def _schemas(*kinds: type | UnionType) -> tuple[Schema, dict[str, Schema]]:
    """The schema of any one of the types, and by name the schemas of all types they contain."""
    some, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return some[0] if len(some) == 1 else {"anyOf": list(some)}, schemas


def _relax_for_requests(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The tag is required only in a union or a content part, and not in a message: SDKs leave it out there."""
    parts = {_REFERENCE.format(name=part.__name__) for part in _PARTS}
    tagged = parts | set(_union_members(schemas)) - {_REFERENCE.format(name=InputMessage.__name__)}
    for name, schema in schemas.items():
        tag, of = next(iter(schema["properties"].items()))
        if len(of.get("enum", ())) == 1 and _REFERENCE.format(name=name) not in tagged:
            schema["required"].remove(tag)
    for kind in _INPUT_TYPES:
        _allow_nulls(schemas[kind.__name__])
    return schemas


def _allow_nulls(schema: Schema) -> None:
    """SDKs send items of an earlier response back with null fields of any name, which are ignored."""
    schema["additionalProperties"] = {"type": "null"}
    for name, of in schema["properties"].items():
        if name not in schema["required"]:
            schema["properties"][name] = {"anyOf": [of, {"type": "null"}]}


def _union_members(schema: object) -> Iterator[str]:
    """References to the members of all tagged unions in it."""
    if isinstance(schema, dict):
        yield from schema.get("discriminator", {}).get("mapping", {}).values()
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list | tuple) else ()
    for one in inner:
        yield from _union_members(one)


def _require_always_present(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """In a response a field is present also with its default value, unless its default is to be absent."""
    for schema in schemas.values():
        required = schema.get("required", [])
        schema["required"] = [name for name, of in schema["properties"].items() if name in required or "default" in of]
    return schemas
