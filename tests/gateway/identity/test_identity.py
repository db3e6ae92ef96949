import asyncio

import httpx2
import pytest

from gateway.errors import Unauthenticated
from gateway.identity.identity import Identity
from gateway.identity.introspection import Credential, User
from tests.gateway.identity.fake_auth_service import ACTIVE, FakeAuthService, Responder, auth_service


def identity_of(respond: Responder) -> Identity:
    return Identity(auth_service(respond))


async def test_a_credential_is_introspected_once_and_then_cached() -> None:
    auth = FakeAuthService(ACTIVE)
    identity = identity_of(auth)
    for _ in range(3):
        assert await identity.authenticate(Credential("pk_1")) == User("user_1", "alice")
    assert auth.forms == [{"token": ["pk_1"]}]


async def test_the_same_secret_of_another_user_is_not_found_in_the_cache() -> None:
    auth = FakeAuthService(ACTIVE)
    identity = identity_of(auth)
    await identity.authenticate(Credential("same", username="alice"))
    await identity.authenticate(Credential("same", username="bob"))
    await identity.authenticate(Credential("same"))
    assert len(auth.forms) == 3


async def test_concurrent_callers_share_one_introspection() -> None:
    auth = FakeAuthService(ACTIVE)
    identity = identity_of(auth)
    users = await asyncio.gather(*(identity.authenticate(Credential("pk_1")) for _ in range(50)))
    assert users == [User("user_1", "alice")] * 50
    assert len(auth.forms) == 1


class FakeTicketService:
    """Accepts each ticket once, and replies to no one before `callers` requests have arrived."""

    def __init__(self, callers: int) -> None:
        self._all_have_arrived = asyncio.Barrier(callers)
        self._redeemed: set[bytes] = set()

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        is_first = request.content not in self._redeemed
        self._redeemed.add(request.content)
        await self._all_have_arrived.wait()
        return httpx2.Response(200, json=ACTIVE | {"token_type": "ticket"} if is_first else {"active": False})


async def test_of_eight_callers_that_present_one_ticket_at_once_exactly_one_succeeds() -> None:
    identity = identity_of(FakeTicketService(8))
    async with asyncio.timeout(20):
        results = await asyncio.gather(
            *(identity.authenticate(Credential("ek_1")) for _ in range(8)), return_exceptions=True
        )
    assert [type(result) for result in results].count(User) == 1
    assert [type(result) for result in results].count(Unauthenticated) == 7


async def test_a_ticket_is_not_cached() -> None:
    identity = identity_of(FakeTicketService(1))
    assert await identity.authenticate(Credential("ek_1")) == User("user_1", "alice")
    with pytest.raises(Unauthenticated):
        await identity.authenticate(Credential("ek_1"))


async def test_a_password_that_looks_like_a_ticket_is_cached_as_a_password() -> None:
    auth = FakeAuthService(ACTIVE)
    identity = identity_of(auth)
    for _ in range(2):
        await identity.authenticate(Credential("ek_1", username="alice"))
    assert len(auth.forms) == 1


class SlowAuthService(FakeAuthService):
    """Decides on each request as it arrives, and replies once `may_reply` is set."""

    def __init__(self, body: dict[str, object]) -> None:
        super().__init__(body)
        self.has_decided = asyncio.Event()
        self.may_reply = asyncio.Event()

    async def respond(self, request: httpx2.Request) -> httpx2.Response:
        response = self(request)
        self.has_decided.set()
        await self.may_reply.wait()
        return response


async def test_an_introspection_from_before_a_revocation_is_neither_joined_nor_cached() -> None:
    auth = SlowAuthService(ACTIVE)
    identity = identity_of(auth.respond)
    before = asyncio.create_task(identity.authenticate(Credential("pk_1")))
    await auth.has_decided.wait()
    auth.body = {"active": False}
    identity.invalidate("user_1")
    after = asyncio.create_task(identity.authenticate(Credential("pk_1")))
    auth.may_reply.set()
    assert await before == User("user_1", "alice")
    for late in (after, identity.authenticate(Credential("pk_1"))):
        with pytest.raises(Unauthenticated):
            await late


async def test_a_recheck_bypasses_the_cache_and_a_failed_one_invalidates_it() -> None:
    auth = FakeAuthService(ACTIVE)
    identity, alice = identity_of(auth), User("user_1", "alice", "c" * 64)
    await identity.authenticate(Credential("pk_1"))
    await identity.revalidate(alice)
    auth.body = {"active": False}
    with pytest.raises(Unauthenticated):
        await identity.recheck(alice)
    for credential in (Credential("pk_1"), Credential("", reference=alice.credential)):
        with pytest.raises(Unauthenticated):
            await identity.authenticate(credential)


async def test_a_recheck_is_marked_as_such_and_is_not_shared_with_a_request() -> None:
    auth = FakeAuthService(ACTIVE)
    identity, alice = identity_of(auth), User("user_1", "alice", "c" * 64)
    await asyncio.gather(identity.recheck(alice), identity.revalidate(alice))
    assert auth.forms == [{"credential": [alice.credential], "recheck": ["1"]}, {"credential": [alice.credential]}]


async def test_concurrent_rechecks_of_one_credential_share_one_introspection() -> None:
    auth = FakeAuthService(ACTIVE)
    identity, alice = identity_of(auth), User("user_1", "alice", "c" * 64)
    await asyncio.gather(*(identity.recheck(alice) for _ in range(50)))
    assert len(auth.forms) == 1


class ConcurrencyCounter:
    """Counts the introspections that run at the same time."""

    def __init__(self) -> None:
        self._running = self.highest = 0

    async def __call__(self, _: httpx2.Request) -> httpx2.Response:
        self._running += 1
        self.highest = max(self.highest, self._running)
        await asyncio.sleep(0)
        self._running -= 1
        return httpx2.Response(200, json=ACTIVE)


async def test_concurrent_rechecks_of_many_credentials_are_limited() -> None:
    auth = ConcurrencyCounter()
    identity = identity_of(auth)
    users = [User("user_1", "alice", f"{number:064x}") for number in range(100)]
    await asyncio.gather(*(identity.recheck(user) for user in users))
    assert 1 < auth.highest <= 8


async def test_a_cancelled_caller_does_not_cancel_the_introspection_for_others() -> None:
    identity = identity_of(FakeAuthService(ACTIVE))
    first = asyncio.create_task(identity.authenticate(Credential("pk_1")))
    second = asyncio.create_task(identity.authenticate(Credential("pk_1")))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == User("user_1", "alice")


async def test_a_refusal_is_not_cached() -> None:
    auth = FakeAuthService({"active": False})
    identity = identity_of(auth)
    with pytest.raises(Unauthenticated):
        await identity.authenticate(Credential("x"))
    auth.body = ACTIVE
    assert await identity.authenticate(Credential("x")) == User("user_1", "alice")
