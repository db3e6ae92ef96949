"""Leases on a real Redis: which gateways are alive, and whose turns may be taken over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from anyio.to_thread import run_sync
from redis.asyncio import Redis

from dev.process import Process
from gateway.errors import Unavailable
from gateway.store.leases import Leases
from tests.gateway.builders import background_task, connection


class Taken:
    """The gateways whose turns were taken over."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.some = asyncio.Event()

    async def __call__(self, gateway_id: str) -> None:
        self.ids.append(gateway_id)
        self.some.set()


@asynccontextmanager
async def running(redis: Redis, name: str = "g1") -> AsyncIterator[tuple[Leases, Taken]]:
    leases, taken = Leases(redis, name), Taken()
    async with background_task(leases.run_heartbeat(nothing)), background_task(leases.run_sweeper(taken)):
        yield leases, taken


async def nothing() -> None:
    """There is no turn here that others could have taken over."""


async def dead(redis: Redis, name: str) -> Leases:
    """One that was alive, and whose lease has expired."""
    leases = Leases(redis, name)
    await leases.renew()
    await redis.delete(f"parley:gateway:{name}:alive")
    return leases


async def test_the_turns_of_a_gateway_without_a_lease_are_taken_over(redis: Redis) -> None:
    await dead(redis, "g2")
    async with running(redis) as (leases, taken):
        await taken.some.wait()
        assert await leases.is_alive("g1")
    assert set(taken.ids) == {"g2"}


async def test_the_turns_of_a_live_gateway_are_not_taken_over(redis: Redis) -> None:
    await dead(redis, "g3")
    async with running(redis, "g2"), running(redis, "g1") as (leases, taken):
        await taken.some.wait()
        assert await leases.live_peers() == ["g2"]
    assert set(taken.ids) == {"g3"}


async def test_a_gateway_that_missed_one_sweep_and_came_back_is_not_taken_over(redis: Redis) -> None:
    late = await dead(redis, "g2")
    leases, taken = Leases(redis, "g1"), Taken()
    await leases._sweep(taken)
    await late.renew()
    await leases._sweep(taken)
    await redis.delete("parley:gateway:g2:alive")
    await leases._sweep(taken)
    assert taken.ids == []
    await leases._sweep(taken)
    assert taken.ids == ["g2"]


async def test_released_turns_are_taken_over_at_once(redis: Redis) -> None:
    leaving = await dead(redis, "g2")
    await leaving.release()
    leases, taken = Leases(redis, "g1"), Taken()
    leases.sweep_soon("g2")
    await leases._sweep(taken)
    assert taken.ids == ["g2"]


async def test_released_turns_of_a_live_gateway_are_not_taken_over(redis: Redis) -> None:
    await Leases(redis, "g2").renew()
    leases, taken = Leases(redis, "g1"), Taken()
    leases.sweep_soon("g2")
    await leases._sweep(taken)
    assert taken.ids == []


async def test_a_released_lease_is_not_renewed(redis: Redis) -> None:
    leases = Leases(redis, "g1")
    await leases.renew()
    await leases.release()
    await leases.renew()
    assert not await leases.is_alive("g1")


async def test_a_draining_gateway_takes_nothing_over(redis: Redis) -> None:
    await dead(redis, "g2")
    async with running(redis) as (leases, taken):
        await taken.some.wait()
        leases.stop_takeovers()
        taken.ids.clear()
        async with running(redis, "g3") as (_, other):
            await other.some.wait()
            other.some.clear()
            await other.some.wait()
    assert taken.ids == []


async def test_the_lease_is_renewed_during_a_slow_takeover(redis: Redis) -> None:
    await dead(redis, "g2")
    leases, taking = Leases(redis, "g1", lease_seconds=1), asyncio.Event()

    async def for_ever(_: str) -> None:
        taking.set()
        await asyncio.Event().wait()

    async with background_task(leases.run_heartbeat(nothing)), background_task(leases.run_sweeper(for_ever)):
        await taking.wait()
        await redis.delete("parley:gateway:g1:alive")
        while not await leases.is_alive("g1"):
            await asyncio.sleep(0.01)


async def test_a_late_renewal_reports_that_the_lease_had_expired(redis: Redis) -> None:
    leases, late = Leases(redis, "g1"), asyncio.Semaphore(0)

    async def on_expired() -> None:
        late.release()

    async with background_task(leases.run_heartbeat(on_expired)):
        await late.acquire()
        await redis.delete("parley:gateway:g1:alive")
        await late.acquire()
    assert [await leases.renew() for _ in range(2)] == [False, False]


async def test_the_next_renewal_removes_turns_that_could_not_be_removed(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        leases = Leases(redis, "g1")
        await leases.add_turn("user_1", "resp_1")
        await leases.add_turn("user_1", "resp_2")
        durable_redis.kill()
        for response_id in ("resp_1", "resp_2"):
            with pytest.raises(Unavailable):
                await leases.remove_turn("user_1", response_id)
        await run_sync(durable_redis.restart)
        await leases.add_turn("user_1", "resp_2")
        await leases.renew()
        assert await leases.list_turns("g1") == [("user_1", "resp_2")]


async def test_a_forgotten_gateway_is_listed_again_with_its_next_turn(redis: Redis) -> None:
    leases, other = Leases(redis, "g1"), Leases(redis, "g2")
    await other.forget_gateway("g1")
    await leases.add_turn("user_1", "resp_1")
    taken = Taken()
    await other._sweep(taken)
    await other._sweep(taken)
    assert taken.ids == ["g1"]


async def test_a_lease_expires_by_itself(redis: Redis) -> None:
    leases = Leases(redis, "g1", lease_seconds=0.05)
    await leases.renew()
    while await leases.is_alive("g1"):
        await asyncio.sleep(0.01)


async def test_turns_are_listed_until_they_are_removed(redis: Redis) -> None:
    leases, other = Leases(redis, "g1"), Leases(redis, "g2")
    await leases.add_turn("user_1", "resp_1")
    await leases.add_turn("user_2", "resp_2")
    assert await other.list_turns("g1") == [("user_1", "resp_1"), ("user_2", "resp_2")]
    await leases.remove_turn("user_1", "resp_1")
    await other.remove_turn("user_2", "resp_2", of="g1")
    await other.remove_turn("user_2", "resp_2", of="g1")
    assert await other.list_turns("g1") == []


async def test_a_bug_in_a_takeover_stops_neither_the_heartbeat_nor_the_sweeper(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await dead(redis, "g2")
    tries = asyncio.Semaphore(0)

    async def broken(_: str) -> None:
        tries.release()
        raise ZeroDivisionError

    leases = Leases(redis, "g1")
    async with background_task(leases.run_heartbeat(nothing)), background_task(leases.run_sweeper(broken)):
        await tries.acquire()
        await tries.acquire()
        assert await leases.is_alive("g1")
    assert "ZeroDivisionError" in caplog.text


async def test_no_gateway_counts_as_dead_because_redis_was_unreachable(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        other = Leases(redis, "g2")
        await other.renew()
        async with running(redis) as (leases, taken):
            durable_redis.kill()
            with pytest.raises(Unavailable):
                await leases.is_alive("g2")
            await asyncio.to_thread(durable_redis.restart)
            await other.renew()
            while not await leases.is_alive("g1"):
                await asyncio.sleep(0.01)
    assert taken.ids == []
