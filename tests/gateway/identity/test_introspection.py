import asyncio
from collections.abc import Callable, Coroutine
from urllib.parse import parse_qs

import httpx2
import pytest

from gateway.errors import TooManyRequests, Unauthenticated, Unavailable
from gateway.identity.introspection import Credential, Identity, User

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


StartedTurn = (
    Callable[[httpx2.Request], httpx2.Response] | Callable[[httpx2.Request], Coroutine[None, None, httpx2.Response]]
)


def identity(answer: StartedTurn) -> Identity:
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


class Tickets:
    """Each is good for one question; nobody is answered before `askers` have asked."""

    def __init__(self, askers: int) -> None:
        self._all_have_asked = asyncio.Barrier(askers)
        self._redeemed: set[bytes] = set()

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        first = request.content not in self._redeemed
        self._redeemed.add(request.content)
        await self._all_have_asked.wait()
        return httpx2.Response(200, json=ACTIVE | {"token_type": "ticket"} if first else {"active": False})


async def test_of_eight_who_present_one_ticket_at_once_exactly_one_has_it() -> None:
    asking = identity(Tickets(8))
    async with asyncio.timeout(20):
        found = await asyncio.gather(*(asking.user(Credential("ek_1")) for _ in range(8)), return_exceptions=True)
    assert [type(one) for one in found].count(User) == 1
    assert [type(one) for one in found].count(Unauthenticated) == 7


async def test_a_ticket_is_not_known_afterwards() -> None:
    asking = identity(Tickets(1))
    assert await asking.user(Credential("ek_1")) == User("user_1", "alice")
    with pytest.raises(Unauthenticated):
        await asking.user(Credential("ek_1"))


async def test_a_password_that_looks_like_a_ticket_is_a_password() -> None:
    auth = AuthService(ACTIVE)
    asking = identity(auth)
    for _ in range(2):
        await asking.user(Credential("ek_1", username="alice"))
    assert len(auth.asked) == 1


class Slow(AuthService):
    """Has made up its mind when it is asked, and says so when `says` is set."""

    def __init__(self, body: dict[str, object]) -> None:
        super().__init__(body)
        self.heard = asyncio.Event()
        self.says = asyncio.Event()

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        answer = self(request)
        self.heard.set()
        await self.says.wait()
        return answer


async def test_an_answer_from_before_something_was_withdrawn_is_neither_joined_nor_kept() -> None:
    auth = Slow(ACTIVE)
    asking = identity(auth.answer)
    before = asyncio.create_task(asking.user(Credential("pk_1")))
    await auth.heard.wait()
    auth.body = {"active": False}
    asking.forget("user_1")
    after = asyncio.create_task(asking.user(Credential("pk_1")))
    auth.says.set()
    assert await before == User("user_1", "alice")
    for late in (after, asking.user(Credential("pk_1"))):
        with pytest.raises(Unauthenticated):
            await late


async def test_a_recheck_asks_whatever_is_known_and_ends_what_is_known() -> None:
    auth = AuthService(ACTIVE)
    asking, alice = identity(auth), User("user_1", "alice", "c" * 64)
    await asking.user(Credential("pk_1"))
    await asking.again(alice)
    auth.body = {"active": False}
    with pytest.raises(Unauthenticated):
        await asking.recheck(alice)
    for credential in (Credential("pk_1"), Credential("", known=alice.credential)):
        with pytest.raises(Unauthenticated):
            await asking.user(credential)


async def test_a_recheck_says_that_nobody_has_asked_for_anything_and_does_not_stand_for_a_request() -> None:
    auth = AuthService(ACTIVE)
    asking, alice = identity(auth), User("user_1", "alice", "c" * 64)
    await asyncio.gather(asking.recheck(alice), asking.again(alice))
    assert auth.asked == [{"credential": [alice.credential], "recheck": ["1"]}, {"credential": [alice.credential]}]


async def test_all_sockets_of_a_credential_that_ask_again_at_once_are_one_question() -> None:
    auth = AuthService(ACTIVE)
    asking, alice = identity(auth), User("user_1", "alice", "c" * 64)
    await asyncio.gather(*(asking.recheck(alice) for _ in range(50)))
    assert len(auth.asked) == 1


class TokenCounter:
    """How many it is asked at the same time, at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, _: httpx2.Request) -> httpx2.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return httpx2.Response(200, json=ACTIVE)


async def test_many_credentials_that_ask_again_at_once_take_turns() -> None:
    auth = TokenCounter()
    asking = identity(auth)
    users = [User("user_1", "alice", f"{number:064x}") for number in range(100)]
    await asyncio.gather(*(asking.recheck(user) for user in users))
    assert 1 < auth.most <= 8


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
