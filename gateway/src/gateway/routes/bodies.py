"""The bytes of a request's body."""

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.errors import NotJson, UnsupportedMediaType

_JSON = "application/json"


async def json_body(request: Request) -> bytes:
    """Raises UnsupportedMediaType, or NotJson for what broke off. A body without a type is taken for JSON: nothing else
    is expected anywhere."""
    try:
        body = await request.body()
    except ClientDisconnect as exc:
        raise NotJson("one that broke off") from exc  # nobody hears it, and the log tells of no fault
    media_type = request.headers.get("content-type", _JSON)
    if body and media_type.partition(";")[0].strip().lower() != _JSON:
        raise UnsupportedMediaType(media_type)
    return body
