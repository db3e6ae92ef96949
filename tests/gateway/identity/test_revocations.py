"""The `revocations` and their `revocation_channel`: an open connection closes when its credential ends, also when the
announcement was lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from gateway.errors import Unauthenticated, Unavailable
from gateway.identity.identity import CACHED_SECONDS
from gateway.identity.introspection import User
from gateway.identity.revocation_channel import Revocation, RevocationChannel
from gateway.identity.revocations import RECHECK_SECONDS, RETRY_SECONDS, Revocations
from tests.chaos.proxy import Proxy

ALICE = User("user_1", "alice", "a" * 64)
CHANNEL = "parley:revocations"
ALICES = b'{"sub":"user_1","credential":"%b","reason":"session"}' % ALICE.credential.encode()


class FakeChecker:
    """Raises the `results` that are exceptions, one for each recheck; the last one applies to all further rechecks."""

    def __init__(self, *results: Exception | None) -> None:
        self._results = list(results)
        self.rechecks = asyncio.Semaphore(0)

    async def recheck(self, user: User) -> None:
        assert user == ALICE
        self.rechecks.release()
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if result is not None:
            raise result

    def fail_with(self, result: Exception) -> None:
        self._results = [result]


class OpenConnection:
    def __init__(self, revocations: Revocations, checker: FakeChecker, **options: float) -> None:
        self.closed = asyncio.Event()
        self._watching = revocations.watch(checker, ALICE, self._close, **options)  # type: ignore[arg-type]

    async def _close(self) -> None:
        self.closed.set()

    async def __aenter__(self) -> "OpenConnection":
        self._task = asyncio.create_task(self._watching)
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until_closed(self) -> None:
        """Long before the first periodic recheck."""
        async with asyncio.timeout(20):
            await self._task
        assert self.closed.is_set()


def revocations_of(redis: Redis) -> Revocations:
    return Revocations(RevocationChannel(redis))


@asynccontextmanager
async def listening(
    revocations: Revocations, on_revocation: Callable[[Revocation], None] = lambda _: None
) -> AsyncIterator[None]:
    """From the moment that Redis has confirmed the subscription, which begins the first epoch."""
    task = asyncio.create_task(revocations.listen(on_revocation))
    await until_epoch_after(revocations, 0)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until_epoch_after(revocations: Revocations, epoch: int) -> None:
    while revocations.epoch == epoch:
        await asyncio.sleep(0.01)


async def test_an_announced_revocation_closes_the_connection_and_is_passed_on(redis: Redis) -> None:
    revocations, received = revocations_of(redis), list[Revocation]()
    async with (
        listening(revocations, received.append),
        OpenConnection(revocations, FakeChecker(None), since=revocations.epoch) as connection,
    ):
        await redis.publish(CHANNEL, ALICES)
        await connection.until_closed()
    assert received == [Revocation("user_1", ALICE.credential, "session")]


@pytest.mark.parametrize("noise", [b"", b"\xff", b"[]", b'{"sub":1}', b'{"sub":"\xff"}'])
async def test_an_invalid_message_on_the_channel_is_ignored(redis: Redis, noise: bytes) -> None:
    revocations = revocations_of(redis)
    async with (
        listening(revocations),
        OpenConnection(revocations, FakeChecker(None), since=revocations.epoch) as connection,
    ):
        await redis.publish(CHANNEL, noise)
        await redis.publish(CHANNEL, ALICES)
        await connection.until_closed()


async def test_it_also_rechecks_periodically_and_stays_open_while_the_auth_service_is_unavailable(
    redis: Redis,
) -> None:
    revocations = revocations_of(redis)
    checker = FakeChecker(None, Unavailable("auth-service"), Unavailable("auth-service"), Unauthenticated())
    async with OpenConnection(revocations, checker, since=0, recheck_seconds=0.001, retry_seconds=0.001) as connection:
        for _ in range(4):
            assert not connection.closed.is_set()
            await checker.rechecks.acquire()
        await connection.until_closed()


def test_a_revocation_takes_a_minute_at_most_even_with_a_cached_result_and_a_failed_recheck() -> None:
    introspection_seconds = 2
    assert CACHED_SECONDS + RECHECK_SECONDS + introspection_seconds + RETRY_SECONDS + introspection_seconds <= 60


async def test_a_failed_recheck_is_repeated_soon(redis: Redis) -> None:
    checker = FakeChecker(Unavailable("auth-service"), Unauthenticated())
    # The first recheck is immediate.
    async with OpenConnection(revocations_of(redis), checker, recheck_seconds=3600, retry_seconds=0.001) as connection:
        await connection.until_closed()


async def test_a_revocation_during_the_introspection_causes_a_recheck(redis: Redis) -> None:
    revocations = revocations_of(redis)
    async with listening(revocations):
        before = revocations.epoch
        await redis.publish(CHANNEL, ALICES)
        await until_epoch_after(revocations, before)
        async with OpenConnection(revocations, FakeChecker(Unauthenticated()), since=before) as connection:
            await connection.until_closed()


async def test_all_connections_are_rechecked_after_redis_has_closed_the_subscription(redis: Redis) -> None:
    revocations, checker = revocations_of(redis), FakeChecker(None)
    async with listening(revocations):
        since = revocations.epoch
        async with (
            OpenConnection(revocations, checker, since=since) as first,
            OpenConnection(revocations, checker, since=since) as second,
        ):
            checker.fail_with(Unauthenticated())
            await redis.client_kill_filter(_type="pubsub")
            await first.until_closed()
            await second.until_closed()


async def test_a_half_open_subscription_is_replaced(redis: Redis, port: int) -> None:
    async with Proxy(port) as proxy, Redis(port=proxy.port) as behind_proxy:
        revocations = Revocations(RevocationChannel(behind_proxy, silence_seconds=0.1, reconnect_seconds=0.01))
        async with (
            listening(revocations),
            OpenConnection(revocations, FakeChecker(None), since=revocations.epoch) as connection,
        ):
            before = revocations.epoch
            proxy.forget()
            await redis.publish(CHANNEL, ALICES)
            await until_epoch_after(revocations, before)
            assert not connection.closed.is_set()
            await redis.publish(CHANNEL, ALICES)
            await connection.until_closed()


async def test_a_recheck_that_hangs_does_not_delay_an_announced_revocation(redis: Redis) -> None:
    class Hanging(FakeChecker):
        async def recheck(self, user: User) -> None:
            self.rechecks.release()
            await asyncio.Event().wait()

    revocations, checker = revocations_of(redis), Hanging(None)
    async with listening(revocations), OpenConnection(revocations, checker) as connection:
        await checker.rechecks.acquire()
        await redis.publish(CHANNEL, ALICES)
        await connection.until_closed()
