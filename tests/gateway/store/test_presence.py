"""Departures are announced through a real Redis, to the clients of every replica."""

import asyncio

import pytest
from redis.asyncio import Redis

from dev.process import Process
from gateway.store.presence import Presence
from tests.gateway.builders import background_task, connection

LEFT = "Client #alice left the chat"


class Client:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.is_notified = asyncio.Event()

    async def notify(self, line: str) -> None:
        self.lines.append(line)
        self.is_notified.set()


async def test_a_departure_is_announced_to_all_others_on_every_replica(redis: Redis) -> None:
    here, there = Presence(redis, announce=True), Presence(redis, announce=True)
    alice, bob, carol = Client(), Client(), Client()
    listening = asyncio.Semaphore(0)
    async with background_task(here.listen(listening.release)), background_task(there.listen(listening.release)):
        for _ in range(2):
            await listening.acquire()
        here.arrive(alice.notify)
        here.arrive(bob.notify)
        there.arrive(carol.notify)
        await here.leave(alice.notify, "alice")
        await bob.is_notified.wait()
        await carol.is_notified.wait()
    assert (alice.lines, bob.lines, carol.lines) == ([], [LEFT], [LEFT])


async def test_a_slow_client_does_not_delay_the_others(redis: Redis) -> None:
    presence, bob, listening = Presence(redis, announce=True), Client(), asyncio.Event()

    async def never(_: str) -> None:
        await asyncio.Event().wait()

    async with background_task(presence.listen(listening.set)):
        await listening.wait()
        presence.arrive(never)
        presence.arrive(bob.notify)
        await presence.leave(Client().notify, "alice")
        await bob.is_notified.wait()
        for notice in presence._notices:
            notice.cancel()


async def test_without_announcements_nothing_is_published(redis: Redis) -> None:
    presence, listening = Presence(redis, announce=False), asyncio.Event()
    async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.psubscribe("parley:*")
        await subscription.get_message(timeout=1)
        async with asyncio.timeout(5):
            await presence.listen(listening.set)  # there is nothing to wait for
        await presence.leave(Client().notify, "alice")
        assert await subscription.get_message(timeout=0.1) is None
    assert listening.is_set()


async def test_an_unreachable_redis_delays_no_client_and_is_logged(
    durable_redis: Process, caplog: pytest.LogCaptureFixture
) -> None:
    async with connection(durable_redis.command.port) as redis:
        presence, attempted = Presence(redis, announce=True), asyncio.Event()
        durable_redis.kill()
        await presence.leave(Client().notify, "alice")
        async with background_task(presence.listen(attempted.set)):
            await attempted.wait()
    assert "a departure was not announced: redis is not reachable" in caplog.text
    assert "departures are not received: redis is not reachable" in caplog.text
