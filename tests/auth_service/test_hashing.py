"""Tests of auth_service.hashing."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from auth_service.errors import HashingBusy
from auth_service.hashing import Argon2id, HashingPool
from tests.auth_service.fakes import CountingHasher


class BlockingHasher(CountingHasher):
    """Blocks in `verify` until `resume` is set; `entered` is released for each blocked call."""

    def __init__(self) -> None:
        super().__init__()
        self.resume = threading.Event()
        self.entered = threading.Semaphore(0)

    def verify(self, password_hash: str, password: str) -> bool:
        self.entered.release()
        self.resume.wait()
        return super().verify(password_hash, password)


@contextmanager
def pool_of(hasher: CountingHasher, *, threads: int = 2, queue: int = 1) -> Generator[HashingPool]:
    pool = HashingPool(hasher, threads=threads, queue=queue)
    try:
        yield pool
    finally:
        pool.close()


def test_hashes_are_argon2id_with_the_minimum_parameters_of_owasp() -> None:
    assert Argon2id().hash("correct horse").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_password_matches_only_its_own_hash() -> None:
    argon2id = Argon2id()
    stored = argon2id.hash("correct horse")
    assert stored != argon2id.hash("correct horse")
    assert argon2id.verify(stored, "correct horse")
    assert not argon2id.verify(stored, "correct horsf")
    assert not argon2id.verify(stored, "correct horse\x00")
    assert not argon2id.verify("not a hash", "correct horse")


def test_a_hash_with_other_parameters_still_verifies_and_needs_a_rehash() -> None:
    old = Argon2id(memory_kib=8192).hash("correct horse")
    assert Argon2id().verify(old, "correct horse")
    assert Argon2id().needs_rehash(old)
    assert not Argon2id().needs_rehash(Argon2id().hash("correct horse"))


async def test_an_unknown_user_costs_the_same_work_as_a_wrong_password() -> None:
    hasher = CountingHasher()
    with pool_of(hasher) as pool:
        stored = await pool.hash("correct horse")
        hasher.operations.clear()
        assert not await pool.verify(stored, "wrong")
        wrong = hasher.operations.copy()
        hasher.operations.clear()
        assert not await pool.verify(None, "wrong")
    assert hasher.operations == wrong == ["verify"]


class AcceptingHasher(CountingHasher):
    def verify(self, password_hash: str, password: str) -> bool:
        return bool(password_hash and password)


async def test_no_password_matches_an_unknown_user() -> None:
    with pool_of(AcceptingHasher()) as pool:
        assert await pool.verify("a hash", "x") is True
        assert await pool.verify(None, "x") is False


async def test_a_request_beyond_the_threads_and_the_queue_fails_immediately() -> None:
    hasher = BlockingHasher()
    with pool_of(hasher, threads=2, queue=1) as pool:
        waiting = [asyncio.create_task(pool.verify(None, "x")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(HashingBusy):
            await pool.verify(None, "x")
        hasher.resume.set()
        assert await asyncio.gather(*waiting) == [False, False, False]
        assert await pool.verify(None, "x") is False


async def test_a_slot_is_released_only_when_its_thread_is() -> None:
    hasher = BlockingHasher()
    with pool_of(hasher, threads=1, queue=0) as pool:
        cancelled = asyncio.create_task(pool.verify(None, "x"))
        await asyncio.to_thread(hasher.entered.acquire)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        with pytest.raises(HashingBusy):
            await pool.verify(None, "x")
        hasher.resume.set()


async def test_a_client_that_disconnects_while_queued_leaves_the_queue() -> None:
    hasher = BlockingHasher()
    with pool_of(hasher, threads=1, queue=1) as pool:
        running = asyncio.create_task(pool.verify(None, "x"))
        await asyncio.to_thread(hasher.entered.acquire)
        cancelled = asyncio.create_task(pool.verify(None, "y"))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        queued = asyncio.create_task(pool.verify(None, "z"))
        await asyncio.sleep(0)
        hasher.resume.set()
        assert not any(await asyncio.gather(running, queued))
