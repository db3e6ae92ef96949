"""Requests that are invalid before their JSON is parsed: each gets its answer, without a server error."""

import asyncio

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.stack.accounts import create_accounts
from tests.stack.conftest import PASSWORD, Deployment
from tests.stack.raw import exchanged, handshake, request

pytestmark = pytest.mark.usefixtures("no_server_errors")

MODELS = "GET /v1/models"
CREATE = "POST /v1/conversations"
JSON = "Content-Type: application/json"


@pytest.mark.parametrize(
    "host",
    ["", "Host:", "Host: a\r\nHost: a", "Host: a b", "Host: user@a", "Host: a/b", "Host: a:123456", "Host: \xe4"],
)
def test_a_missing_invalid_or_duplicate_host_is_400(deployment: Deployment, host: str) -> None:
    answer = exchanged(deployment, request(MODELS, host=host))
    assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["X: " + "a" * 9000], 400),
        ([f"X{number}: {'a' * 1000}" for number in range(40)], 400),
        (["X : a"], 400),
        (["X: a\r\n b"], 400),
        (["X: a\0b"], 400),
        (["Authorization: Bearer a", "Authorization: Bearer b"], 400),
        (["Authorization: Bearer \xe4\xf6"], 401),
        (["Authorization: Bearer " + "a" * 7000], 401),
        (["Authorization: Bearer"], 401),
        (["Cookie: parley_session=\xff\xfe"], 401),
    ],
)
def test_oversized_malformed_or_invalid_headers_are_refused(
    deployment: Deployment, headers: list[str], status: int
) -> None:
    assert exchanged(deployment, request(MODELS, *headers)).status == status


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (["Content-Length: 2", "Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", 400),
        (["Content-Length: 2", "Content-Length: 3"], b"{} ", 400),
        (["Content-Length: 2", "Content-Length: 2"], b"{}", 400),
        (["Content-Length: 2, 2"], b"{}", 400),
        (["Content-Length: -2"], b"{}", 400),
        (["Transfer-Encoding: cow"], b"{}", 400),
        (["Transfer-Encoding: chunked"], b"cow\r\n{}\r\n0\r\n\r\n", 400),
        (["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", 200),
        (["Content-Length: 65536"], b"{}" + b" " * 65534, 200),
        (["Content-Length: 65537"], b"{}" + b" " * 65535, 413),
        (["Transfer-Encoding: chunked"], b"10001\r\n" + b" " * 65537 + b"\r\n0\r\n\r\n", 413),
    ],
)
def test_a_body_of_ambiguous_or_excessive_length_is_refused(
    deployment: Deployment, headers: list[str], body: bytes, status: int
) -> None:
    answer = exchanged(
        deployment, request(CREATE, f"Authorization: Bearer {deployment.alice}", JSON, *headers, body=body)
    )
    assert answer.status == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/" + "a" * 9000, 414),
        ("/v1/conversations/../../introspect", 404),
        ("/v1/%2e%2e/introspect", 404),
        ("/v1/conversations/..%2f..%2fintrospect", 404),
        ("/../../etc/passwd", 400),
        ("/%2e%2e/%2e%2e/etc/passwd", 400),
        ("/%00", 400),
        ("/v1/conversations/%00", 400),
        ("/v1/conversations/conv_%0d%0aX:%20y", 404),
        ("/v1/conversations/%ff", 404),
        ("/v1/conversations/\xff", 400),
        ("//v1/models", 404),
        ("v1/models", 400),
        ("*", 400),
    ],
)
def test_a_url_that_is_too_long_or_escapes_its_path_is_refused(deployment: Deployment, path: str, status: int) -> None:
    assert exchanged(deployment, request(f"GET {path}", f"Authorization: Bearer {deployment.alice}")).status == status


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET /v1/models HTTP/3.0\r\nHost: a\r\n\r\n"])
def test_a_request_that_is_not_http_1_is_400(deployment: Deployment, data: bytes) -> None:
    assert exchanged(deployment, data).status == 400


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("PUT /v1/conversations", "GET, POST"),
        ("OPTIONS /v1/conversations/conv_x", "DELETE, GET, POST"),
        ("PATCH /v1/responses/resp_x/cancel", "POST"),
        ("POST /v1/openapi.json", "GET"),
        # refused by nginx itself
        ("TRACE /v1/models", "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
        ("TRACE /auth/login", "GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
        ("TRACE /", "GET, HEAD"),
        ("POST /", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_refused_with_the_allowed_ones(deployment: Deployment, line: str, allowed: str) -> None:
    method, _, path = line.partition(" ")
    answer = httpx2.request(method, f"{deployment.stack.url}{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        (None, 200),
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("application/json5", 415),
        ("", 415),
    ],
)
def test_a_body_of_another_type_than_json_is_415(deployment: Deployment, media_type: str | None, status: int) -> None:
    headers = {
        "Authorization": f"Bearer {deployment.alice}",
        **({"Content-Type": media_type} if media_type is not None else {}),
    }
    answer = httpx2.post(f"{deployment.stack.url}/v1/conversations", headers=headers, content=b"{}")
    assert answer.status_code == status
    if status == 415:
        assert answer.json()["error"]["code"] == "unsupported_media_type"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://[::1", "http://localhost.evil.example", ""])
def test_a_request_from_another_origin_cannot_use_a_session(deployment: Deployment, origin: str) -> None:
    cookie = f"Cookie: {deployment.log_in('alice', PASSWORD)}"
    origins = [f"Origin: {origin}"] if origin else []
    answer = exchanged(deployment, request(CREATE, cookie, JSON, *origins, "Content-Length: 2", body=b"{}"))
    assert (answer.status, answer.code) == (403, "origin_not_allowed")
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {'A' * 22}==",
    )
    assert exchanged(deployment, request("GET /v1/responses", cookie, *origins, *upgrade)).status == 403


@pytest.mark.parametrize("path", ["/v1/responses", "/ws", "/v1/responses?resume=resp_x"])
def test_a_plain_get_on_the_path_of_a_socket_is_426(deployment: Deployment, path: str) -> None:
    answer = exchanged(deployment, request(f"GET {path}", f"Authorization: Bearer {deployment.alice}"))
    assert (answer.status, answer.code) == (426, "upgrade_required")


@pytest.mark.parametrize(
    "headers",
    [
        [f"X-{number}: a" for number in range(140)],
        ["Sec-WebSocket-Protocol: ,,"],
        ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="],
    ],
)
def test_an_invalid_handshake_is_400(deployment: Deployment, headers: list[str]) -> None:
    assert exchanged(deployment, handshake(deployment, *headers)).status == 400


async def test_a_claimed_client_address_is_ignored(deployment: Deployment) -> None:
    """Guesses are limited by address: if claimed ones were trusted, each of these would come from a new one."""
    create_accounts(deployment.stack, {"dave": PASSWORD})
    said = []
    for number in range(8):
        claimed = {
            "X-Forwarded-For": f"10.0.0.{number}",
            "X-Real-IP": f"10.0.1.{number}",
            "Forwarded": f"for=10.0.2.{number}",
        }
        url = f"{deployment.socket_url}/ws?userid=dave&secret=guess{number}"
        async with connect(url, additional_headers=claimed) as socket:
            await socket.send("hello?")
            said.append(await socket.recv())
    assert said[0] == "authentication failed"
    assert said[-1] == "too many log-in attempts; wait a moment"


async def test_a_socket_above_the_users_limit_is_429_until_another_is_closed(
    limited_deployment: Deployment,
) -> None:
    before = limited_deployment.server_errors()
    sockets = [await limited_deployment.socket(limited_deployment.bob) for _ in range(3)]
    for socket in sockets:
        await socket.send("{}")  # one that is silent would be closed soon
    with pytest.raises(InvalidStatus) as refused:
        await limited_deployment.socket(limited_deployment.bob)
    assert refused.value.response.status_code == 429
    assert refused.value.response.headers["Retry-After"] == "1"
    async with limited_deployment.socket(limited_deployment.alice):
        pass  # of others there is no talk
    await sockets.pop().close()
    async with asyncio.timeout(10):
        while True:
            try:
                sockets.append(await limited_deployment.socket(limited_deployment.bob))
                break
            except InvalidStatus:
                await asyncio.sleep(0.02)
    for socket in sockets:
        await socket.close()
    assert limited_deployment.server_errors() == before
