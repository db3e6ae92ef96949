import json

import pytest
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException

from gateway.errors import MethodNotAllowed, NotFound, TooManyRequests
from gateway.protocol.resources import Deleted
from gateway.routes.json_responses import error_response, handle_error, json_response


@pytest.fixture
def request_() -> Request:
    app = FastAPI()

    @app.get("/v1/things/{thing_id}")
    async def get() -> None:
        """Never called."""

    @app.post("/v1/things/{thing_id}")
    async def post() -> None:
        """Never called."""

    return Request({"type": "http", "method": "PUT", "path": "/v1/things/1", "headers": [], "app": app})


def test_a_resource_is_encoded_as_json() -> None:
    response = json_response(Deleted("resp_1", "response"))
    assert json.loads(bytes(response.body)) == {"id": "resp_1", "object": "response", "deleted": True}
    assert response.media_type == "application/json"


def test_an_error_has_its_own_status_and_headers() -> None:
    response = error_response(TooManyRequests("slow down"))
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert json.loads(bytes(response.body))["error"]["message"] == "slow down"


@pytest.mark.parametrize(
    ("exception", "status", "code"),
    [
        (NotFound("item"), 404, NotFound.code),
        (HTTPException(404), 404, NotFound.code),
        (HTTPException(405), 405, MethodNotAllowed.code),
        (HTTPException(413, "too large"), 413, "invalid_request"),
        (ZeroDivisionError(), 500, "server_error"),
    ],
)
async def test_every_exception_becomes_an_error_response(
    request_: Request, exception: Exception, status: int, code: str
) -> None:
    response = await handle_error(request_, exception)
    assert (response.status_code, json.loads(bytes(response.body))["error"]["code"]) == (status, code)


async def test_an_unexpected_exception_reveals_nothing(request_: Request) -> None:
    response = await handle_error(request_, RuntimeError("hunter2"))
    assert b"hunter2" not in bytes(response.body)


async def test_a_wrong_method_is_answered_with_all_methods_of_the_path(request_: Request) -> None:
    response = await handle_error(request_, HTTPException(405))
    assert response.headers["allow"] == "GET, POST"
