"""What every request is checked for before its route reads it: the body's media type, the query's parameters."""

from typing import Annotated

from fastapi import Query, Request
from starlette.requests import ClientDisconnect

from gateway.errors import InvalidJson, InvalidRequest, UnsupportedMediaType, UnsupportedParameter
from gateway.pauses import SMALL_BYTES, pause
from gateway.protocol.limits import MAX_ID_LENGTH
from gateway.routes.credentials import CurrentUser

Limit = Annotated[int, Query(ge=1, le=100)]
AfterItem = Annotated[str | None, Query(max_length=MAX_ID_LENGTH)]

_JSON = "application/json"
# OpenAI's own parameters for features that Parley does not have, as its SDKs write them.
_UNSUPPORTED = {"include": "include", "include[]": "include", "include_obfuscation": "include_obfuscation"}
_MAX_QUOTED_LENGTH = 100


async def read_json_body(request: Request) -> bytes:
    """Raises UnsupportedMediaType, or InvalidJson for a truncated body. A body without a media type counts as JSON."""
    try:
        body = await request.body()
    except ClientDisconnect as exc:
        # The client cannot read this; without it the log would report a fault of ours.
        raise InvalidJson("a truncated body") from exc
    media_type = request.headers.get("content-type", _JSON)
    if body and media_type.partition(";")[0].strip().lower() != _JSON:
        raise UnsupportedMediaType(media_type)
    if len(body) > SMALL_BYTES:
        await pause()  # many large bodies may be complete at the same moment
    return body


async def reject_unknown_parameters(request: Request, _: CurrentUser) -> None:
    """A dependency of routers: a misspelt `limit` would otherwise silently return another list.

    Raises UnsupportedParameter or InvalidRequest, but Unauthenticated first.
    """
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    for name in request.query_params:
        if name in _UNSUPPORTED:
            raise UnsupportedParameter(_UNSUPPORTED[name])
        if name not in known:
            quoted = name[:_MAX_QUOTED_LENGTH]
            raise InvalidRequest(f"unknown query parameter {quoted!r}", param=quoted, code="unknown_parameter")
