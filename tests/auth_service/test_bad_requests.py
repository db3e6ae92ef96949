import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from tests.auth_service.conftest import Parley, on_sqlite

pytestmark = on_sqlite

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
    ("null", "invalid_type", None, "body: expected an object sent as application/json, got nothing."),
    ("", "missing_required_parameter", None, "body: expected a value, got none."),
    ('"text"', "invalid_type", None, "body: expected an object sent as application/json, got a string."),
    ("1e400", "invalid_type", None, "body: expected an object sent as application/json, got a number."),
    ("{}", "missing_required_parameter", "username", "username: expected a value, got none."),
    ('{"username": "alice"}', "missing_required_parameter", "password", "password: expected a value, got none."),
    ('{"username": 1, "password": "x"}', "invalid_type", "username", "username: expected a string, got a number."),
    ('{"username": 1e400, "password": "x"}', "invalid_type", "username", "username: expected a string, got a number."),
    ('{"username": "a", "password": true}', "invalid_type", "password", "password: expected a string, got a boolean."),
    ('{"username": "a", "password": null}', "invalid_type", "password", "password: expected a string, got nothing."),
    ('{"username": [], "password": "x"}', "invalid_type", "username", "username: expected a string, got an array."),
    ('{"username": {}, "password": "x"}', "invalid_type", "username", "username: expected a string, got an object."),
    ("{" + GOOD + ', "admin": true}', "unknown_parameter", "admin", "admin: expected no such field, got a boolean."),
    ("{" + GOOD + ', "Username": "x"}', "unknown_parameter", "Username", "expected no such field"),
    ("{" + GOOD + ', "' + "k" * 4000 + '": 1}', "unknown_parameter", "k" * 64, "expected no such field"),
]


@pytest.fixture(autouse=True)
async def the_next_valid_request_works(parley: Parley) -> AsyncGenerator[None]:
    await parley.user()
    yield
    assert (await parley.login()).status_code == 200


@pytest.mark.parametrize("body", NOT_JSON)
async def test_what_is_not_json_is_answered_400(parley: Parley, body: str | bytes) -> None:
    response = await parley.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"
    assert parley.hasher.operations == []


@pytest.mark.parametrize(("body", "code", "param", "message"), WRONG)
async def test_json_of_another_shape_is_answered_400_naming_the_field_what_was_expected_and_what_came(
    parley: Parley, body: str, code: str, param: str | None, message: str
) -> None:
    response = await parley.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", code, param)
    assert message in error["message"]
    assert parley.hasher.operations == []


@pytest.mark.parametrize("body", ["[" * 4000 + "]" * 4000, '{"a":' * 1300 + "1" + "}" * 1300])
async def test_deep_nesting_is_answered_400(parley: Parley, body: str) -> None:
    response = await parley.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 400
    assert parley.hasher.operations == []


async def test_a_value_that_came_is_never_repeated(parley: Parley) -> None:
    body = {"username": "alice", "password": ["canary"], "pasword": "canary"}
    response = await parley.http.post("/auth/login", json=body)
    assert response.status_code == 400
    assert "canary" not in response.text


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_json_that_is_not_declared_as_such_is_refused(parley: Parley, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await parley.http.post("/auth/login", content="{" + GOOD + "}", headers=headers)
    assert response.status_code == 400
    assert "sent as application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize("size", [8193, 1_000_000])
async def test_a_body_over_the_limit_is_answered_413_before_hashing(parley: Parley, size: int) -> None:
    body = json.dumps({"username": "alice", "password": "x" * size})
    response = await parley.http.post("/auth/login", content=body, headers=JSON)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"
    assert parley.hasher.operations == []


async def test_a_body_that_does_not_say_its_length_is_limited_as_well(parley: Parley) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(1000):
            yield b" " * 1000

    response = await parley.http.post("/auth/login", content=endless(), headers=JSON)
    assert response.status_code == 413


async def test_an_address_says_every_method_that_it_knows(parley: Parley) -> None:
    for path, methods in [("/auth/me", "DELETE, GET"), ("/auth/sessions", "DELETE, GET"), ("/auth/login", "POST")]:
        assert (await parley.http.request("PUT", path)).headers["allow"] == methods


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
async def test_what_is_not_there_is_answered_in_the_shape_of_every_error(
    parley: Parley, method: str, path: str, status: int, kind: str
) -> None:
    response = await parley.http.request(method, path)
    assert response.status_code == status
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"type", "code", "message", "param"}
    assert error["type"] == kind
