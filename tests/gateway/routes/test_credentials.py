from contextlib import nullcontext
from typing import Any

import pytest
from starlette.requests import HTTPConnection

from gateway.errors import OriginRefused, Unauthenticated
from gateway.identity.introspection import Credential
from gateway.routes.credentials import read_credential

PLAIN, OVER_TLS = "parley_session=ps_plain", "__Host-parley_session=ps_prefixed"
BY_NGINX = {"x-forwarded-proto": "https"}


def connection(cookies: str, headers: dict[str, str] | None = None, scheme: str = "http", **scope: Any) -> Any:
    all_headers = {"host": "chat.test", "cookie": cookies} | (headers or {})
    return HTTPConnection(
        {
            "type": "http",
            "method": "GET",
            "scheme": scheme,
            "path": "/v1/conversations",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in all_headers.items()],
            "state": {"allowed_origins": frozenset()},
            **scope,
        }
    )


@pytest.mark.parametrize(
    "connected", [connection(PLAIN, BY_NGINX), connection(PLAIN, scheme="https")], ids=["nginx", "here"]
)
def test_over_tls_a_session_without_the_prefix_does_not_count(connected: HTTPConnection[Any]) -> None:
    with pytest.raises(Unauthenticated):
        read_credential(connected)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_handshake_over_tls_needs_the_prefix_as_well(scheme: str) -> None:
    headers = {"origin": "https://chat.test"} | (BY_NGINX if scheme == "ws" else {})
    with pytest.raises(Unauthenticated):
        read_credential(connection(PLAIN, headers, scheme, type="websocket"))
    assert read_credential(connection(OVER_TLS, headers, scheme, type="websocket")) == Credential("ps_prefixed")


@pytest.mark.parametrize("headers", [{}, BY_NGINX])
@pytest.mark.parametrize("cookies", [f"{PLAIN}; {OVER_TLS}", f"{OVER_TLS}; {PLAIN}", OVER_TLS])
def test_the_session_with_the_prefix_takes_precedence(cookies: str, headers: dict[str, str]) -> None:
    assert read_credential(connection(cookies, headers)) == Credential("ps_prefixed")


def test_an_empty_session_with_the_prefix_is_not_replaced_by_one_without() -> None:
    with pytest.raises(Unauthenticated):
        read_credential(connection(f"__Host-parley_session=; {PLAIN}"))


def test_over_plain_http_there_is_no_prefix() -> None:
    assert read_credential(connection(PLAIN, {"x-forwarded-proto": "http"})) == Credential("ps_plain")
    assert read_credential(connection(PLAIN)) == Credential("ps_plain")


@pytest.mark.parametrize(
    ("host", "origin", "headers", "same"),
    [
        ("chat.test", "https://chat.test", BY_NGINX, True),
        ("chat.test:443", "https://chat.test", BY_NGINX, True),
        ("CHAT.test:443", "https://chat.test", {}, True),
        ("chat.test:80", "http://chat.test", {}, True),
        ("[::1]:443", "https://[::1]", BY_NGINX, True),
        ("chat.test", "http://chat.test", BY_NGINX, False),
        ("chat.test:80", "https://chat.test", BY_NGINX, False),
        ("chat.test:443", "http://chat.test", {}, False),
        ("chat.test:8443", "https://chat.test", {}, False),
        (":443", "https://:443", BY_NGINX, False),
        ("chat.test", "file://chat.test", {}, False),
        ("chat.test", "null", {}, False),
    ],
)
def test_the_origin_of_a_page_names_the_host_and_over_tls_https(
    host: str, origin: str, headers: dict[str, str], same: bool
) -> None:
    sent = connection(OVER_TLS, headers | {"host": host, "origin": origin}, method="POST")
    with nullcontext() if same else pytest.raises(OriginRefused):
        assert read_credential(sent) == Credential("ps_prefixed")
