import pytest
from fastapi import Request

from gateway.errors import InvalidJson, UnsupportedMediaType
from gateway.routes.request_validation import read_json_body
from tests.gateway.builders import Wire


def request(*messages: Wire, media_type: str = "application/json") -> Request:
    remaining = iter(messages)

    async def receive() -> Wire:
        return next(remaining)

    return Request({"type": "http", "headers": [(b"content-type", media_type.encode())]}, receive)


FIRST = {"type": "http.request", "body": b'{"input":', "more_body": True}
LAST = {"type": "http.request", "body": b'"hello"}', "more_body": False}


async def test_a_body_may_arrive_in_chunks() -> None:
    assert await read_json_body(request(FIRST, LAST)) == b'{"input":"hello"}'


async def test_a_client_that_disconnects_while_it_sends_is_a_client_error() -> None:
    with pytest.raises(InvalidJson):
        await read_json_body(request(FIRST, {"type": "http.disconnect"}))


async def test_a_body_of_another_type_is_refused() -> None:
    with pytest.raises(UnsupportedMediaType):
        await read_json_body(request(FIRST, LAST, media_type="text/plain"))
