"""The bytes of a request's body."""

from fastapi import Request
from starlette.requests import ClientDisconnect

from gateway.errors import InvalidJson, UnsupportedMediaType

_JSON = "application/json"


async def json_body(request: Request) -> bytes:
    """Raises UnsupportedMediaType, or InvalidJson for a truncated body. A body without a media type counts as JSON."""
    try:
        body = await request.body()
    except ClientDisconnect as exc:
        raise InvalidJson("one that broke off") from exc  # nobody hears it, and the log tells of no fault
    media_type = request.headers.get("content-type", _JSON)
    if body and media_type.partition(";")[0].strip().lower() != _JSON:
        raise UnsupportedMediaType(media_type)
    return body
