"""Tests of auth_service.logins: response times. A statistical test without a limit in milliseconds."""

import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import pytest

from auth_service.accounts import Account, Role
from auth_service.errors import InvalidCredentials, UnsuitablePassword
from auth_service.hashing import Argon2id, HashingPool
from auth_service.logins import Logins
from auth_service.store.stores import Stores
from auth_service.throttle import Throttle
from tests.auth_service.conftest import PASSWORD, sqlite_only

pytestmark = sqlite_only
TRIES = 40


@pytest.fixture
async def logins(stores: Stores) -> AsyncGenerator[Logins]:
    # Cheaper than the default, which would only hide other differences: this one takes about 5 ms.
    argon2id = Argon2id(memory_kib=4096, passes=1)
    for name, disabled in [("alice", False), ("mallory", True)]:
        await stores.accounts.add(Account(f"user_{name}", name, argon2id.hash(PASSWORD), Role.USER, disabled, 0))
    await stores.accounts.add(Account("user_bob", "bob", "", Role.USER, disabled=False, created_at=0))
    pool = HashingPool(argon2id, threads=1)
    yield Logins(stores, pool, Throttle())
    pool.close()


def precedence(some: Sequence[float], others: Sequence[float]) -> float:
    """Returns the probability that one of `some` is smaller than one of `others`: 0.5 for the same distribution, 0 or 1
    for disjoint ones (the Mann-Whitney statistic; with 40 tries each, its standard deviation is 0.065)."""
    return sum(one < other for one in some for other in others) / (len(some) * len(others))


async def durations(logins: Logins, *attempts: tuple[str, str]) -> list[list[float]]:
    """Measures each kind of attempt in random order, so that other load on the machine affects all of them equally."""
    taken: list[list[float]] = [[] for _ in attempts]
    order = [number for number in range(len(attempts)) for _ in range(TRIES)]
    random.shuffle(order)
    for turn, number in enumerate(order):
        name, password = attempts[number]
        started = time.perf_counter()
        with suppress(InvalidCredentials, UnsuitablePassword):
            await logins.verify(name, password, f"192.0.2.{turn}")
        taken[number].append(time.perf_counter() - started)
    return taken


async def test_an_unknown_user_takes_as_long_as_a_wrong_password(logins: Logins) -> None:
    wrong, unknown, refused = await durations(
        logins, ("alice", "wrong horse"), ("nobody", "wrong horse"), ("alice", "x" * 129)
    )
    assert 0.2 < precedence(unknown, wrong) < 0.8
    # The measurement is sensitive enough: an attempt rejected before hashing is almost always faster.
    assert precedence(refused, wrong) > 0.9


async def test_a_disabled_account_and_one_without_a_password_take_as_long(logins: Logins) -> None:
    wrong, disabled, without = await durations(
        logins, ("alice", "wrong horse"), ("mallory", PASSWORD), ("bob", "wrong horse")
    )
    assert 0.2 < precedence(disabled, wrong) < 0.8
    assert 0.2 < precedence(without, wrong) < 0.8
