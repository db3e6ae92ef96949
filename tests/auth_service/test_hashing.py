import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from auth_service.errors import HashingBusy
from auth_service.hashing import Argon2id, HashingPool
from tests.auth_service.fakes import CountingHasher


class StuckHasher(CountingHasher):
    """Verifies when told to go on; so many threads are at it at once."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.entered = threading.Semaphore(0)

    def verify(self, password_hash: str, password: str) -> bool:
        self.entered.release()
        self.go_on.wait()
        return super().verify(password_hash, password)


@contextmanager
def pool_of(hasher: CountingHasher, *, threads: int = 2, queue: int = 1) -> Generator[HashingPool]:
    pool = HashingPool(hasher, threads=threads, queue=queue)
    try:
        yield pool
    finally:
        pool.close()


def test_hashes_are_argon2id_at_the_minimum_owasp_names_with_the_parameters_in_the_hash() -> None:
    assert Argon2id().hash("correct horse").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_password_matches_its_own_hash_alone() -> None:
    argon2id = Argon2id()
    stored = argon2id.hash("correct horse")
    assert stored != argon2id.hash("correct horse")
    assert argon2id.verify(stored, "correct horse")
    assert not argon2id.verify(stored, "correct horsf")
    assert not argon2id.verify(stored, "correct horse\x00")
    assert not argon2id.verify("not a hash", "correct horse")


def test_a_hash_with_other_parameters_still_verifies_and_is_outdated() -> None:
    old = Argon2id(memory_kib=8192).hash("correct horse")
    assert Argon2id().verify(old, "correct horse")
    assert Argon2id().outdated(old)
    assert not Argon2id().outdated(Argon2id().hash("correct horse"))


async def test_a_user_who_does_not_exist_costs_the_same_work_as_a_wrong_password() -> None:
    hasher = CountingHasher()
    with pool_of(hasher) as pool:
        stored = await pool.hash("correct horse")
        hasher.operations.clear()
        assert not await pool.verify(stored, "wrong")
        wrong = hasher.operations.copy()
        hasher.operations.clear()
        assert not await pool.verify(None, "wrong")
    assert hasher.operations == wrong == ["verify"]


class GullibleHasher(CountingHasher):
    def verify(self, password_hash: str, password: str) -> bool:
        return bool(password_hash and password)


async def test_no_password_is_the_right_one_for_a_user_who_does_not_exist() -> None:
    with pool_of(GullibleHasher()) as pool:
        assert await pool.verify("a hash", "x") is True
        assert await pool.verify(None, "x") is False


async def test_beyond_the_threads_and_the_line_nobody_waits() -> None:
    hasher = StuckHasher()
    with pool_of(hasher, threads=2, queue=1) as pool:
        waiting = [asyncio.create_task(pool.verify(None, "x")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(HashingBusy):
            await pool.verify(None, "x")
        hasher.go_on.set()
        assert await asyncio.gather(*waiting) == [False, False, False]
        assert await pool.verify(None, "x") is False


async def test_a_place_is_free_again_only_when_its_thread_is() -> None:
    hasher = StuckHasher()
    with pool_of(hasher, threads=1, queue=0) as pool:
        hung_up = asyncio.create_task(pool.verify(None, "x"))
        await asyncio.to_thread(hasher.entered.acquire)
        hung_up.cancel()
        await asyncio.wait([hung_up])
        with pytest.raises(HashingBusy):
            await pool.verify(None, "x")
        hasher.go_on.set()


async def test_who_hangs_up_in_the_line_leaves_the_line() -> None:
    hasher = StuckHasher()
    with pool_of(hasher, threads=1, queue=1) as pool:
        working = asyncio.create_task(pool.verify(None, "x"))
        await asyncio.to_thread(hasher.entered.acquire)
        hung_up = asyncio.create_task(pool.verify(None, "y"))
        await asyncio.sleep(0)
        hung_up.cancel()
        await asyncio.wait([hung_up])
        next_one = asyncio.create_task(pool.verify(None, "z"))
        await asyncio.sleep(0)
        hasher.go_on.set()
        assert not any(await asyncio.gather(working, next_one))
