"""Tests of auth_service.logins."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import pytest

from auth_service.accounts import Account, Role
from auth_service.errors import HashingBusy, InvalidCredentials, TooManyAttempts, UnsuitablePassword
from auth_service.hashing import HashingPool
from auth_service.logins import Logins
from auth_service.store.stores import Stores
from auth_service.throttle import Throttle
from tests.auth_service.fakes import Clock, CountingHasher

PASSWORD, WRONG, ADDRESS = "correct horse", "wrong horse", "192.0.2.1"


@dataclass(frozen=True)
class Harness:
    logins: Logins
    stores: Stores
    hasher: CountingHasher

    async def operations_of_failed_login(self, name: str, password: str) -> list[str]:
        """Returns the hasher's operations during a failed log-in."""
        self.hasher.operations.clear()
        with pytest.raises(InvalidCredentials):
            await self.logins.verify(name, password, ADDRESS)
        return self.hasher.operations.copy()


@pytest.fixture
async def harness(stores: Stores, hasher: CountingHasher) -> AsyncGenerator[Harness]:
    for number, (name, disabled) in enumerate([("alice", False), ("mallory", True)]):
        account = Account(f"user_{number}", name, hasher.hash(PASSWORD), Role.USER, disabled, created_at=0)
        await stores.accounts.add(account)
    pool = HashingPool(hasher, threads=1)
    yield Harness(Logins(stores, pool, Throttle(clock=Clock())), stores, hasher)
    pool.close()


@pytest.mark.parametrize("name", ["alice", "ALICE", "Alice"])
async def test_the_right_password_is_accepted_with_the_name_in_any_case(harness: Harness, name: str) -> None:
    assert (await harness.logins.verify(name, PASSWORD, ADDRESS)).id == "user_0"


async def test_every_failure_costs_the_same_work(harness: Harness) -> None:
    wrong = await harness.operations_of_failed_login("alice", WRONG)
    assert wrong == ["verify"]
    assert await harness.operations_of_failed_login("nobody", PASSWORD) == wrong
    assert await harness.operations_of_failed_login("\u0430lice", PASSWORD) == wrong
    assert await harness.operations_of_failed_login("a b", PASSWORD) == wrong
    assert await harness.operations_of_failed_login("mallory", PASSWORD) == wrong
    assert await harness.operations_of_failed_login("alice", "") == wrong


async def test_a_password_over_the_limit_is_rejected_before_hashing(harness: Harness) -> None:
    harness.hasher.operations.clear()
    with pytest.raises(UnsuitablePassword):
        await harness.logins.verify("alice", "x" * 129, ADDRESS)
    assert harness.hasher.operations == []


async def test_a_throttled_attempt_is_rejected_before_hashing(harness: Harness) -> None:
    for _ in range(5):
        await harness.operations_of_failed_login("alice", WRONG)
    harness.hasher.operations.clear()
    with pytest.raises(TooManyAttempts):
        await harness.logins.verify("alice", PASSWORD, ADDRESS)
    assert harness.hasher.operations == []


async def test_after_a_hundred_wrong_guesses_the_owner_can_log_in_from_another_address(harness: Harness) -> None:
    for _ in range(100):
        with pytest.raises((InvalidCredentials, TooManyAttempts)):
            await harness.logins.verify("alice", WRONG, "198.51.100.7")
    assert (await harness.logins.verify("alice", PASSWORD, ADDRESS)).name == "alice"


async def test_an_unknown_user_is_throttled_like_an_existing_one(harness: Harness) -> None:
    for _ in range(5):
        await harness.operations_of_failed_login("nobody", WRONG)
    with pytest.raises(TooManyAttempts):
        await harness.logins.verify("nobody", WRONG, ADDRESS)


async def test_an_outdated_hash_is_renewed_at_log_in(harness: Harness) -> None:
    harness.hasher.version = "v2"
    harness.hasher.operations.clear()
    await harness.logins.verify("alice", PASSWORD, ADDRESS)
    assert harness.hasher.operations == ["verify", "hash"]
    renewed = await harness.stores.accounts.get_by_name("alice")
    assert renewed is not None
    assert renewed.password_hash.startswith("v2:")
    harness.hasher.operations.clear()
    await harness.logins.verify("alice", PASSWORD, ADDRESS)
    assert harness.hasher.operations == ["verify"]


async def test_a_wrong_password_does_not_renew_the_hash(harness: Harness) -> None:
    harness.hasher.version = "v2"
    assert await harness.operations_of_failed_login("alice", WRONG) == ["verify"]


class BusyWhenHashing(HashingPool):
    async def hash(self, password: str) -> str:
        raise HashingBusy


async def test_a_log_in_succeeds_if_the_hash_cannot_be_renewed(harness: Harness) -> None:
    pool = BusyWhenHashing(harness.hasher, threads=1)
    harness.hasher.version = "v2"
    logins = Logins(harness.stores, pool, Throttle())
    assert (await logins.verify("alice", PASSWORD, ADDRESS)).name == "alice"
    pool.close()


async def test_the_log_never_contains_a_submitted_name_or_password(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        await harness.operations_of_failed_login("hunter2-typed-as-name", "canary-password")
    written = "".join(str(vars(record)) for record in caplog.records)
    assert "login refused" in written
    assert ADDRESS in written
    assert "hunter2" not in written
    assert "canary" not in written
