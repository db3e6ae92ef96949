"""Whoever reads with a credential hears of its end, also of one that nobody announced."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from gateway.errors import Unauthenticated, Unavailable
from gateway.identity.introspection import CACHED_SECONDS, User
from gateway.identity.revocations import ASK_AGAIN_SECONDS, ASK_SOON_SECONDS, Revocation, Revocations
from tests.chaos.proxy import Proxy

ALICE = User("user_1", "alice", "a" * 64)
CHANNEL = "parley:revocations"
HERS = b'{"sub":"user_1","credential":"%b","reason":"session"}' % ALICE.credential.encode()


class Auth:
    """Raises the next of `answers` that is none, and then always the last; sets `asked` each time."""

    def __init__(self, *answers: Exception | None) -> None:
        self._answers = list(answers)
        self.asked = asyncio.Semaphore(0)

    async def recheck(self, user: User) -> None:
        assert user == ALICE
        self.asked.release()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is not None:
            raise answer

    def says(self, answer: Exception) -> None:
        self._answers = [answer]


class Reader:
    def __init__(self, revocations: Revocations, auth: Auth, **more: float) -> None:
        self.closed = asyncio.Event()
        self._watching = revocations.watch(auth, ALICE, self._close, **more)  # type: ignore[arg-type]

    async def _close(self) -> None:
        self.closed.set()

    async def __aenter__(self) -> "Reader":
        self._task = asyncio.create_task(self._watching)
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def is_closed(self) -> None:
        """Long before it would have asked by itself."""
        async with asyncio.timeout(20):
            await self._task
        assert self.closed.is_set()


@asynccontextmanager
async def listening(
    revocations: Revocations, told: Callable[[Revocation], None] = lambda _: None
) -> AsyncIterator[None]:
    """From the moment Redis has confirmed it, which is the first thing that counts as heard."""
    task = asyncio.create_task(revocations.listen(told))
    while not revocations.heard:
        await asyncio.sleep(0.01)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_announced_end_closes_the_reader_and_is_told(redis: Redis) -> None:
    revocations, told = Revocations(redis), list[Revocation]()
    async with listening(revocations, told.append), Reader(revocations, Auth(None), since=revocations.heard) as reader:
        await redis.publish(CHANNEL, HERS)
        await reader.is_closed()
    assert told == [Revocation("user_1", ALICE.credential, "session")]


@pytest.mark.parametrize("noise", [b"", b"\xff", b"[]", b'{"sub":1}', b'{"sub":"\xff"}'])
async def test_what_is_no_revocation_on_the_channel_harms_nobody(redis: Redis, noise: bytes) -> None:
    revocations = Revocations(redis)
    async with listening(revocations), Reader(revocations, Auth(None), since=revocations.heard) as reader:
        await redis.publish(CHANNEL, noise)
        await redis.publish(CHANNEL, HERS)
        await reader.is_closed()


async def test_it_asks_by_itself_as_well_and_goes_on_while_nobody_can_tell(redis: Redis) -> None:
    revocations = Revocations(redis)
    auth = Auth(None, Unavailable("auth-service"), Unavailable("auth-service"), Unauthenticated())
    async with Reader(revocations, auth, since=0, every_seconds=0.001, soon_seconds=0.001) as reader:
        for _ in range(4):
            assert not reader.closed.is_set()
            await auth.asked.acquire()
        await reader.is_closed()


def test_a_minute_is_the_worst_case_although_what_was_known_was_old_and_a_question_failed() -> None:
    question_seconds = 2
    assert CACHED_SECONDS + ASK_AGAIN_SECONDS + question_seconds + ASK_SOON_SECONDS + question_seconds <= 60


async def test_behind_a_question_that_failed_the_next_comes_soon(redis: Redis) -> None:
    auth = Auth(Unavailable("auth-service"), Unauthenticated())
    # The first comes at once.
    async with Reader(Revocations(redis), auth, every_seconds=3600, soon_seconds=0.001) as reader:
        await reader.is_closed()


async def test_what_ended_while_it_was_asked_about_is_asked_about_once_more(redis: Redis) -> None:
    revocations = Revocations(redis)
    async with listening(revocations):
        before = revocations.heard
        await redis.publish(CHANNEL, HERS)
        while revocations.heard == before:
            await asyncio.sleep(0.01)
        async with Reader(revocations, Auth(Unauthenticated()), since=before) as reader:
            await reader.is_closed()


async def test_what_was_announced_while_nobody_listened_is_found_by_all_who_are_open(redis: Redis) -> None:
    """Redis has cut the subscription off."""
    revocations, auth = Revocations(redis), Auth(None)
    async with listening(revocations):
        since = revocations.heard
        async with Reader(revocations, auth, since=since) as one, Reader(revocations, auth, since=since) as other:
            auth.says(Unauthenticated())
            await redis.client_kill_filter(_type="pubsub")
            await one.is_closed()
            await other.is_closed()


async def test_a_subscription_that_is_half_open_is_made_anew(redis: Redis, port: int) -> None:
    async with Proxy(port) as cable, Redis(port=cable.port) as behind_it:
        revocations = Revocations(behind_it, silence_seconds=0.1)
        async with listening(revocations), Reader(revocations, Auth(None), since=revocations.heard) as reader:
            before = revocations.heard
            cable.forget()
            await redis.publish(CHANNEL, HERS)
            while revocations.heard == before:
                await asyncio.sleep(0.01)
            assert not reader.closed.is_set()
            await redis.publish(CHANNEL, HERS)
            await reader.is_closed()


async def test_a_question_that_hangs_does_not_hold_up_what_is_announced(redis: Redis) -> None:
    class Hanging(Auth):
        async def recheck(self, user: User) -> None:
            self.asked.release()
            await asyncio.Event().wait()

    revocations, auth = Revocations(redis), Hanging(None)
    async with listening(revocations), Reader(revocations, auth) as reader:
        await auth.asked.acquire()
        await redis.publish(CHANNEL, HERS)
        await reader.is_closed()
