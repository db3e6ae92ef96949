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

PASSWORD, WRONG, HERE = "correct horse", "wrong horse", "192.0.2.1"


@dataclass(frozen=True)
class World:
    logins: Logins
    stores: Stores
    hasher: CountingHasher

    async def work_of(self, name: str, password: str) -> list[str]:
        """What the hasher did for a log-in that is refused."""
        self.hasher.operations.clear()
        with pytest.raises(InvalidCredentials):
            await self.logins.verify(name, password, HERE)
        return self.hasher.operations.copy()


@pytest.fixture
async def world(stores: Stores, hasher: CountingHasher) -> AsyncGenerator[World]:
    for number, (name, disabled) in enumerate([("alice", False), ("mallory", True)]):
        account = Account(f"user_{number}", name, hasher.hash(PASSWORD), Role.USER, disabled, created_at=0)
        await stores.accounts.add(account)
    pool = HashingPool(hasher, threads=1)
    yield World(Logins(stores, pool, Throttle(clock=Clock())), stores, hasher)
    pool.close()


@pytest.mark.parametrize("name", ["alice", "ALICE", "Alice"])
async def test_the_right_password_names_its_user_whatever_the_case_of_the_name(world: World, name: str) -> None:
    assert (await world.logins.verify(name, PASSWORD, HERE)).id == "user_0"


async def test_every_way_to_be_wrong_costs_the_same_work(world: World) -> None:
    wrong = await world.work_of("alice", WRONG)
    assert wrong == ["verify"]
    assert await world.work_of("nobody", PASSWORD) == wrong
    assert await world.work_of("\u0430lice", PASSWORD) == wrong
    assert await world.work_of("a b", PASSWORD) == wrong
    assert await world.work_of("mallory", PASSWORD) == wrong
    assert await world.work_of("alice", "") == wrong


async def test_a_password_over_the_limit_is_refused_before_hashing(world: World) -> None:
    world.hasher.operations.clear()
    with pytest.raises(UnsuitablePassword):
        await world.logins.verify("alice", "x" * 129, HERE)
    assert world.hasher.operations == []


async def test_a_throttled_attempt_is_refused_before_hashing(world: World) -> None:
    for _ in range(5):
        await world.work_of("alice", WRONG)
    world.hasher.operations.clear()
    with pytest.raises(TooManyAttempts):
        await world.logins.verify("alice", PASSWORD, HERE)
    assert world.hasher.operations == []


async def test_after_a_hundred_wrong_guesses_the_owner_gets_in_from_another_address(world: World) -> None:
    for _ in range(100):
        with pytest.raises((InvalidCredentials, TooManyAttempts)):
            await world.logins.verify("alice", WRONG, "198.51.100.7")
    assert (await world.logins.verify("alice", PASSWORD, HERE)).name == "alice"


async def test_a_user_who_does_not_exist_is_throttled_like_one_who_does(world: World) -> None:
    for _ in range(5):
        await world.work_of("nobody", WRONG)
    with pytest.raises(TooManyAttempts):
        await world.logins.verify("nobody", WRONG, HERE)


async def test_an_outdated_hash_is_renewed_at_log_in(world: World) -> None:
    world.hasher.version = "v2"
    world.hasher.operations.clear()
    await world.logins.verify("alice", PASSWORD, HERE)
    assert world.hasher.operations == ["verify", "hash"]
    renewed = await world.stores.accounts.named("alice")
    assert renewed is not None
    assert renewed.password_hash.startswith("v2:")
    world.hasher.operations.clear()
    await world.logins.verify("alice", PASSWORD, HERE)
    assert world.hasher.operations == ["verify"]


async def test_a_wrong_password_renews_nothing(world: World) -> None:
    world.hasher.version = "v2"
    assert await world.work_of("alice", WRONG) == ["verify"]


class BusyWhenHashing(HashingPool):
    async def hash(self, password: str) -> str:
        raise HashingBusy


async def test_a_log_in_does_not_fail_because_there_is_no_time_to_renew_the_hash(world: World) -> None:
    pool = BusyWhenHashing(world.hasher, threads=1)
    world.hasher.version = "v2"
    logins = Logins(world.stores, pool, Throttle())
    assert (await logins.verify("alice", PASSWORD, HERE)).name == "alice"
    pool.close()


async def test_the_log_never_holds_a_name_or_password_that_was_typed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        await world.work_of("hunter2-typed-as-name", "canary-password")
    written = "".join(str(vars(record)) for record in caplog.records)
    assert "login refused" in written
    assert HERE in written
    assert "hunter2" not in written
    assert "canary" not in written
