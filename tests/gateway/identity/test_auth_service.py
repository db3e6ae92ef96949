"""The `auth_service` and the wire of `introspection`."""

import httpx2
import pytest

from gateway.errors import TooManyRequests, Unauthenticated, Unavailable
from gateway.identity.introspection import Credential, User
from tests.gateway.identity.fake_auth_service import ACTIVE, FakeAuthService, auth_service


async def test_the_plain_text_secret_is_sent_with_its_user_and_the_clients_address() -> None:
    fake = FakeAuthService(ACTIVE)
    credential = Credential("s3cret", username="alice", address="192.0.2.7")
    assert await auth_service(fake).introspect(credential) == User("user_1", "alice")
    assert fake.forms == [{"token": ["s3cret"], "username": ["alice"], "client_address": ["192.0.2.7"]}]


@pytest.mark.parametrize("body", [{"active": False}, {**ACTIVE, "scope": "admin"}, {**ACTIVE, "scope": ""}])
async def test_an_inactive_credential_or_one_without_the_scope_chat_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Unauthenticated):
        await auth_service(FakeAuthService(body)).introspect(Credential("x"))


@pytest.mark.parametrize(
    "response",
    [
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, json={"active": "yes"}),
        httpx2.Response(200, json={"active": True, "scope": "chat"}),
    ],
)
async def test_an_invalid_response_authenticates_no_one(response: httpx2.Response) -> None:
    with pytest.raises(Unavailable):
        await auth_service(lambda _: response).introspect(Credential("x"))


@pytest.mark.parametrize("status", [401, 404, 500, 503])
async def test_an_unexpected_status_fails_closed(status: int) -> None:
    with pytest.raises(Unavailable) as caught:
        await auth_service(FakeAuthService(ACTIVE, status)).introspect(Credential("x"))
    assert caught.value.dependency == "auth-service"


async def test_an_unreachable_auth_service_fails_closed() -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(Unavailable):
        await auth_service(refuse).introspect(Credential("x"))


async def test_throttled_attempts_raise_too_many_requests() -> None:
    with pytest.raises(TooManyRequests):
        await auth_service(FakeAuthService({}, 429)).introspect(Credential("x", username="alice"))


async def test_deletions_are_listed_and_confirmed() -> None:
    requests: list[tuple[str, str]] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        requests.append((request.method, request.url.path))
        return httpx2.Response(200, json={"data": [{"sub": "user_1"}, {"sub": "user_2"}]})

    service = auth_service(respond)
    assert await service.deletions() == ["user_1", "user_2"]
    await service.erased("user_1")
    assert requests == [("GET", "/deletions"), ("DELETE", "/deletions/user_1")]


async def test_a_ping_fails_while_the_auth_service_is_not_ready() -> None:
    await auth_service(FakeAuthService({})).ping()
    with pytest.raises(Unavailable):
        await auth_service(FakeAuthService({}, 503)).ping()
