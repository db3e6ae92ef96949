"""The OpenAPI document of the HTTP side: each route says what it takes, what it answers, with what it may refuse.

The schemas are made of the types that read the requests and write the answers, so they can not say anything else.
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

from gateway.protocol.events import ErrorAnswer
from gateway.protocol.input_items import InputItem, InputMessage
from gateway.protocol.items import InputText, OutputText, ReasoningText, SummaryText
from gateway.protocol.resources import encoded

Schema = dict[str, Any]

_PARTS = (InputText, OutputText, ReasoningText, SummaryText)
_SENT_BACK = (*get_args(InputItem), *_PARTS)
_REFERENCE = "#/components/schemas/{name}"
_ANY_ROUTE = (401, 429, 503)
_ANY_BODY = (400, 403, 413, 415)
_RETRY_AFTER = {"Retry-After": {"description": "seconds", "required": True, "schema": {"type": "integer"}}}
_HEADERS = dict.fromkeys((429, 502, 503), _RETRY_AFTER)
_CREDENTIALS = {
    "key": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": "parley_session"},
    "session_over_tls": {"type": "apiKey", "in": "cookie", "name": "__Host-parley_session"},
}


@dataclass(frozen=True, slots=True)
class Body:
    """`neutral`: fields with the only values they may have; `rules` between fields (gateway.routes.rules)."""

    kind: type
    required: bool = True
    neutral: Mapping[str, Sequence[object]] = field(default_factory=dict)
    rules: Sequence[Schema] = ()
    examples: Mapping[str, object] = field(default_factory=dict)

    def described(self) -> Schema:
        schema, schemas = _schemas(self.kind)
        neutral = {name: {"enum": list(values)} for name, values in self.neutral.items()}
        schemas[self.kind.__name__]["properties"] |= neutral
        if self.rules:
            schemas[self.kind.__name__]["allOf"] = list(self.rules)
        content = _as_json(schema)
        content["application/json"]["examples"] = {name: {"value": value} for name, value in self.examples.items()}
        return {"x-requests": schemas, "requestBody": {"required": self.required, "content": content}}


def described(
    given: type | UnionType,
    *,
    body: Body | None = None,
    streams: Sequence[type] = (),
    refuses: tuple[int, ...] = (),
    links: Schema | None = None,
) -> dict[str, Any]:
    """Keyword arguments of a route. `streams`: the events it may answer with instead; `refuses`: the statuses of its
    own errors; `links`: what can be done with what it answers."""
    schema, schemas = _schemas(given)
    content = _as_json(schema)
    if streams:
        event, of_events = _schemas(*streams)
        content["text/event-stream"] = {"schema": _server_sent(event)}
        schemas |= of_events
    refusals = refused_with(*refuses, *_ANY_ROUTE, *(_ANY_BODY if body else ()))
    return {
        "responses": {200: {"content": content, "links": links or {}}} | refusals,
        "openapi_extra": {"x-answers": _complete(schemas)} | (body.described() if body else {}),
    }


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
        if operation["responses"].get("422", {}).get("description") == "Validation Error":
            del operation["responses"]["422"]
        answers |= operation.pop("x-answers", {})
        requests |= operation.pop("x-requests", {})
    # A client may leave out what an answer never does, so of a type that is both the request's schema counts.
    schemas = answers | _as_read(requests)
    whole["components"] = {"schemas": schemas, "securitySchemes": _CREDENTIALS}
    whole["security"] = [{name: []} for name in _CREDENTIALS]
    return whole


def _as_json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _server_sent(event: Schema) -> Schema:
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": event}
    return {"type": "object", "required": ["data"], "properties": {"data": {"anyOf": [{"const": "[DONE]"}, data]}}}


def _schemas(*kinds: type | UnionType) -> tuple[Schema, dict[str, Schema]]:
    """Of any of the types, and by name of all that they consist of."""
    some, schemas = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return some[0] if len(some) == 1 else {"anyOf": list(some)}, schemas


def _as_read(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """A type needs its tag only where it is one of several, or a part; a message may go without: SDKs write it so."""
    parts = {_REFERENCE.format(name=part.__name__) for part in _PARTS}
    tagged = parts | set(_choices(schemas)) - {_REFERENCE.format(name=InputMessage.__name__)}
    for name, schema in schemas.items():
        tag, of = next(iter(schema["properties"].items()))
        if len(of.get("enum", ())) == 1 and _REFERENCE.format(name=name) not in tagged:
            schema["required"].remove(tag)
    for kind in _SENT_BACK:
        _take_nulls(schemas[kind.__name__])
    return schemas


def _take_nulls(schema: Schema) -> None:
    """In what SDKs send back of an earlier answer a null says nothing, whatever its name."""
    schema["additionalProperties"] = {"type": "null"}
    for name, of in schema["properties"].items():
        if name not in schema["required"]:
            schema["properties"][name] = {"anyOf": [of, {"type": "null"}]}


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
