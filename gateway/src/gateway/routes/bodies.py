"""The bytes of a request's body."""

from fastapi import Request

from gateway.errors import UnsupportedMediaType

_JSON = "application/json"


async def json_body(request: Request) -> bytes:
    """Raises UnsupportedMediaType. A body without a type is taken for JSON: nothing else is expected anywhere."""
    body = await request.body()
    media_type = request.headers.get("content-type", _JSON)
    if body and media_type.partition(";")[0].strip().lower() != _JSON:
        raise UnsupportedMediaType(media_type)
    return body
