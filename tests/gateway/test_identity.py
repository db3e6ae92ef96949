import asyncio
from collections.abc import Callable
from urllib.parse import parse_qs

import httpx2
import pytest

from gateway.errors import TooManyRequests, Unauthenticated, Unavailable
from gateway.identity import Credential, Identity, User

ACTIVE = {"active": True, "sub": "user_1", "username": "alice", "scope": "chat"}


class AuthService:
    """Answers introspection with `status` and `body`, and remembers what it was asked."""

    def __init__(self, body: dict[str, object], status: int = 200) -> None:
        self.body = body
        self.status = status
        self.asked: list[dict[str, list[str]]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(parse_qs(request.content.decode()))
        return httpx2.Response(self.status, json=self.body)


def identity(answer: Callable[[httpx2.Request], httpx2.Response]) -> Identity:
    return Identity(httpx2.AsyncClient(base_url="http://auth", transport=httpx2.MockTransport(answer)))


async def test_a_credential_is_asked_for_once_and_then_known_for_a_while() -> None:
    auth = AuthService(ACTIVE)
    asking = identity(auth)
    for _ in range(3):
        assert await asking.user(Credential("pk_1")) == User("user_1", "alice")
    assert auth.asked == [{"token": ["pk_1"]}]


async def test_the_plain_text_secret_is_sent_with_its_user_and_the_clients_address() -> None:
    auth = AuthService(ACTIVE)
    await identity(auth).user(Credential("s3cret", username="alice", address="192.0.2.7"))
    assert auth.asked == [{"token": ["s3cret"], "username": ["alice"], "client_address": ["192.0.2.7"]}]


async def test_one_users_secret_is_not_taken_for_anothers() -> None:
    auth = AuthService(ACTIVE)
    asking = identity(auth)
    await asking.user(Credential("same", username="alice"))
    await asking.user(Credential("same", username="bob"))
    await asking.user(Credential("same"))
    assert len(auth.asked) == 3


@pytest.mark.parametrize("body", [{"active": False}, {**ACTIVE, "scope": "admin"}, {**ACTIVE, "scope": ""}])
async def test_an_inactive_credential_or_one_without_chat_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(Unauthenticated):
        await identity(AuthService(body)).user(Credential("x"))


async def test_many_who_ask_at_once_are_one_question() -> None:
    auth = AuthService(ACTIVE)
    asking = identity(auth)
    users = await asyncio.gather(*(asking.user(Credential("pk_1")) for _ in range(50)))
    assert users == [User("user_1", "alice")] * 50
    assert len(auth.asked) == 1


async def test_one_who_stops_waiting_takes_the_answer_from_nobody() -> None:
    asking = identity(AuthService(ACTIVE))
    first = asyncio.create_task(asking.user(Credential("pk_1")))
    second = asyncio.create_task(asking.user(Credential("pk_1")))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == User("user_1", "alice")


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(200, text="<html>"),
        httpx2.Response(200, json={"active": "yes"}),
        httpx2.Response(200, json={"active": True, "scope": "chat"}),
    ],
)
async def test_an_answer_that_makes_no_sense_lets_nobody_in(answer: httpx2.Response) -> None:
    with pytest.raises(Unavailable):
        await identity(lambda _: answer).user(Credential("x"))


async def test_a_refusal_is_not_kept() -> None:
    auth = AuthService({"active": False})
    asking = identity(auth)
    with pytest.raises(Unauthenticated):
        await asking.user(Credential("x"))
    auth.body = ACTIVE
    assert await asking.user(Credential("x")) == User("user_1", "alice")


@pytest.mark.parametrize("status", [401, 404, 500, 503])
async def test_it_fails_closed_when_the_auth_service_can_not_tell(status: int) -> None:
    with pytest.raises(Unavailable) as caught:
        await identity(AuthService(ACTIVE, status)).user(Credential("x"))
    assert caught.value.dependency == "auth-service"


async def test_it_fails_closed_when_the_auth_service_is_away() -> None:
    def refuse(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(Unavailable):
        await identity(refuse).user(Credential("x"))


async def test_throttled_guessing_is_told_as_such() -> None:
    with pytest.raises(TooManyRequests):
        await identity(AuthService({}, 429)).user(Credential("x", username="alice"))
