"""Tests of auth_service.routes.request_bodies, routes.responses and routes.body_limit."""

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.auth_service.conftest import Service, sqlite_only

pytestmark = sqlite_only

JSON = {"Content-Type": "application/json"}
GOOD = '"username": "alice", "password": "correct horse battery"'

NOT_JSON = [
    "nope",
    "{",
    "{" + GOOD + "}}",
    '{"username": NaN, "password": "x"}',
    '{"username": Infinity, "password": "x"}',
    "{" + GOOD + ', "password": "twice"}',
    '{"username": "alice", "password": "\\ud800"}',
    '{"username": "\\udc00\\ud800", "password": "x"}',
    b'{"username": "alice", "password": "\xff"}',
    ("{" + GOOD + "}").encode("utf-16"),
    ("{" + GOOD + "}").encode("utf-8-sig"),
    "[" * 4000,
]

WRONG: list[tuple[str, str, str | None, str]] = [
    ("[]", "invalid_type", None, "body: expected an object sent as application/json, got an array."),
    ("null", "invalid_type", None, "body: expected an object sent as application/json, got null."),
    ("", "missing_required_parameter", None, "body: expected a value, got none."),
    ('"text"', "invalid_type", None, "body: expected an object sent as application/json, got a string."),
    ("1e400", "invalid_type", None, "body: expected an object sent as application/json, got a number."),
    ("{}", "missing_required_parameter", "username", "username: expected a value, got none."),
    ('{"username": "alice"}', "missing_required_parameter", "password", "password: expected a value, got none."),
    ('{"username": 1, "password": "x"}', "invalid_type", "username", "username: expected a string, got a number."),
    ('{"username": 1e400, "password": "x"}', "invalid_type", "username", "username: expected a string, got a number."),
    ('{"username": "a", "password": true}', "invalid_type", "password", "password: expected a string, got a boolean."),
    ('{"username": "a", "password": null}', "invalid_type", "password", "password: expected a string, got null."),
    ('{"username": [], "password": "x"}', "invalid_type", "username", "username: expected a string, got an array."),
    ('{"username": {}, "password": "x"}', "invalid_type", "username", "username: expected a string, got an object."),
    (
        "{" + GOOD + ', "admin": true}',
        "unknown_parameter",
        "admin",
        "admin: expected no field of this name, got a boolean.",
    ),
    ("{" + GOOD + ', "Username": "x"}', "unknown_parameter", "Username", "expected no field of this name"),
    ("{" + GOOD + ', "' + "k" * 4000 + '": 1}', "unknown_parameter", "k" * 64, "expected no field of this name"),
]


@pytest.fixture(autouse=True)
async def the_next_valid_request_works(service: Service) -> AsyncGenerator[None]:
    await service.add_user()
    yield
    assert (await service.login()).status_code == 200


@pytest.mark.parametrize("body", NOT_JSON)
async def test_invalid_json_is_answered_400(service: Service, body: str | bytes) -> None:
    response = await service.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"
    assert service.hasher.operations == []


@pytest.mark.parametrize(("body", "code", "param", "message"), WRONG)
async def test_json_of_the_wrong_shape_is_answered_400_with_the_field_the_expected_and_the_received_type(
    service: Service, body: str, code: str, param: str | None, message: str
) -> None:
    response = await service.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert message in error["message"]
    assert service.hasher.operations == []


@pytest.mark.parametrize("body", ["[" * 4000 + "]" * 4000, '{"a":' * 1300 + "1" + "}" * 1300])
async def test_deep_nesting_is_answered_400(service: Service, body: str) -> None:
    response = await service.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 400
    assert service.hasher.operations == []


async def test_a_received_value_is_never_repeated(service: Service) -> None:
    body = {"username": "alice", "password": ["canary"], "pasword": "canary"}
    response = await service.http.post("/auth/login", json=body)
    assert response.status_code == 400
    assert "canary" not in response.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_json_without_its_content_type_is_rejected(service: Service, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await service.http.post("/auth/login", content="{" + GOOD + "}", headers=headers)
    assert response.status_code == 400
    assert "sent as application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize("size", [8193, 1_000_000])
async def test_a_body_over_the_limit_is_answered_413_before_hashing(service: Service, size: int) -> None:
    body = json.dumps({"username": "alice", "password": "x" * size})
    response = await service.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"
    assert service.hasher.operations == []


async def test_a_body_without_a_content_length_is_limited_as_well(service: Service) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(1000):
            yield b" " * 1000

    response = await service.http.post("/auth/login", content=endless(), headers=JSON)
    assert response.status_code == 413


async def test_a_405_lists_every_method_of_the_path(service: Service) -> None:
    for path, methods in [("/auth/me", "DELETE, GET"), ("/auth/sessions", "DELETE, GET"), ("/auth/login", "POST")]:
        assert (await service.http.request("PUT", path)).headers["allow"] == methods


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
        ("GET", "/auth/login", 405, "invalid_request_error"),
        ("PUT", "/auth/me", 405, "invalid_request_error"),
        ("GET", "/introspect", 405, "invalid_request_error"),
    ],
)
async def test_an_unknown_path_or_method_is_answered_with_a_json_error(
    service: Service, method: str, path: str, status: int, kind: str
) -> None:
    response = await service.http.request(method, path)
    assert response.status_code == status
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"type", "code", "message", "param"}
    assert error["type"] == kind
