"""Leases on a real Redis: who is alive, and whose turns are free to take."""

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
    """Whose turns were offered, and when the first were."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.some = asyncio.Event()

    async def __call__(self, gateway_id: str) -> None:
        self.ids.append(gateway_id)
        self.some.set()


@asynccontextmanager
async def looking(redis: Redis, name: str = "g1") -> AsyncIterator[tuple[Leases, Taken]]:
    ownership, taken = Leases(redis, name), Taken()
    async with background_task(ownership.run_heartbeat(nothing)), background_task(ownership.run_sweeper(taken)):
        yield ownership, taken


async def nothing() -> None:
    """There is no turn here that others could have taken."""


async def dead(redis: Redis, name: str) -> Leases:
    """One that was alive, and let its lease lapse."""
    ownership = Leases(redis, name)
    await ownership.renew()
    await redis.delete(f"parley:gateway:{name}:alive")
    return ownership


async def test_a_gateway_without_a_lease_is_taken_over_from(redis: Redis) -> None:
    await dead(redis, "g2")
    async with looking(redis) as (ownership, taken):
        await taken.some.wait()
        assert await ownership.is_alive("g1")
    assert set(taken.ids) == {"g2"}


async def test_who_lives_is_left_alone(redis: Redis) -> None:
    await dead(redis, "g3")
    async with looking(redis, "g2"), looking(redis, "g1") as (ownership, taken):
        await taken.some.wait()
        assert await ownership.live_peers() == ["g2"]
    assert set(taken.ids) == {"g3"}


async def test_who_was_missing_once_and_came_back_is_left_alone(redis: Redis) -> None:
    late = await dead(redis, "g2")
    ownership, taken = Leases(redis, "g1"), Taken()
    await ownership._sweep(taken)
    await late.renew()
    await ownership._sweep(taken)
    await redis.delete("parley:gateway:g2:alive")
    await ownership._sweep(taken)
    assert taken.ids == []
    await ownership._sweep(taken)
    assert taken.ids == ["g2"]


async def test_who_has_given_its_turns_away_is_taken_over_from_at_once(redis: Redis) -> None:
    leaving = await dead(redis, "g2")
    await leaving.leave()
    ownership, taken = Leases(redis, "g1"), Taken()
    ownership.released("g2")
    await ownership._sweep(taken)
    assert taken.ids == ["g2"]


async def test_who_says_that_it_has_left_and_lives_is_left_alone(redis: Redis) -> None:
    await Leases(redis, "g2").renew()
    ownership, taken = Leases(redis, "g1"), Taken()
    ownership.released("g2")
    await ownership._sweep(taken)
    assert taken.ids == []


async def test_who_has_left_takes_no_lease_again(redis: Redis) -> None:
    ownership = Leases(redis, "g1")
    await ownership.renew()
    await ownership.leave()
    await ownership.renew()
    assert not await ownership.is_alive("g1")


async def test_who_leaves_takes_nothing_over_any_more(redis: Redis) -> None:
    await dead(redis, "g2")
    async with looking(redis) as (ownership, taken):
        await taken.some.wait()
        ownership.stop_takeovers()
        taken.ids.clear()
        async with looking(redis, "g3") as (_, other):
            await other.some.wait()
            other.some.clear()
            await other.some.wait()
    assert taken.ids == []


async def test_the_lease_is_held_however_long_it_takes_to_take_over(redis: Redis) -> None:
    await dead(redis, "g2")
    ownership, taking = Leases(redis, "g1", lease_seconds=1), asyncio.Event()

    async def for_ever(_: str) -> None:
        taking.set()
        await asyncio.Event().wait()

    async with background_task(ownership.run_heartbeat(nothing)), background_task(ownership.run_sweeper(for_ever)):
        await taking.wait()
        await redis.delete("parley:gateway:g1:alive")
        while not await ownership.is_alive("g1"):
            await asyncio.sleep(0.01)


async def test_who_was_late_is_told_that_others_may_have_taken_its_turns(redis: Redis) -> None:
    ownership, late = Leases(redis, "g1"), asyncio.Semaphore(0)

    async def lapsed() -> None:
        late.release()

    async with background_task(ownership.run_heartbeat(lapsed)):
        await late.acquire()
        await redis.delete("parley:gateway:g1:alive")
        await late.acquire()
    assert [await ownership.renew() for _ in range(2)] == [False, False]


async def test_what_could_not_be_removed_is_with_the_next_renewal(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        ownership = Leases(redis, "g1")
        await ownership.add("user_1", "resp_1")
        await ownership.add("user_1", "resp_2")
        durable_redis.kill()
        for response_id in ("resp_1", "resp_2"):
            with pytest.raises(Unavailable):
                await ownership.remove("user_1", response_id)
        await run_sync(durable_redis.restart)
        await ownership.add("user_1", "resp_2")
        await ownership.renew()
        assert await ownership.turns("g1") == [("user_1", "resp_2")]


async def test_a_gateway_that_was_forgotten_is_known_again_with_its_next_turn(redis: Redis) -> None:
    ownership, other = Leases(redis, "g1"), Leases(redis, "g2")
    await other.forget("g1")
    await ownership.add("user_1", "resp_1")
    taken = Taken()
    await other._sweep(taken)
    await other._sweep(taken)
    assert taken.ids == ["g1"]


async def test_a_lease_lapses_by_itself(redis: Redis) -> None:
    ownership = Leases(redis, "g1", lease_seconds=0.05)
    await ownership.renew()
    while await ownership.is_alive("g1"):
        await asyncio.sleep(0.01)


async def test_turns_are_listed_until_they_are_removed(redis: Redis) -> None:
    ownership, other = Leases(redis, "g1"), Leases(redis, "g2")
    await ownership.add("user_1", "resp_1")
    await ownership.add("user_2", "resp_2")
    assert await other.turns("g1") == [("user_1", "resp_1"), ("user_2", "resp_2")]
    await ownership.remove("user_1", "resp_1")
    await other.remove("user_2", "resp_2", of="g1")
    await other.remove("user_2", "resp_2", of="g1")
    assert await other.turns("g1") == []


async def test_a_bug_in_taking_over_ends_neither_the_lease_nor_the_looking(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await dead(redis, "g2")
    tries = asyncio.Semaphore(0)

    async def broken(_: str) -> None:
        tries.release()
        raise ZeroDivisionError

    ownership = Leases(redis, "g1")
    async with background_task(ownership.run_heartbeat(nothing)), background_task(ownership.run_sweeper(broken)):
        await tries.acquire()
        await tries.acquire()
        assert await ownership.is_alive("g1")
    assert "ZeroDivisionError" in caplog.text


async def test_nobody_is_dead_because_redis_was_away(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        other = Leases(redis, "g2")
        await other.renew()
        async with looking(redis) as (ownership, taken):
            durable_redis.kill()
            with pytest.raises(Unavailable):
                await ownership.is_alive("g2")
            await asyncio.to_thread(durable_redis.restart)
            await other.renew()
            while not await ownership.is_alive("g1"):
                await asyncio.sleep(0.01)
    assert taken.ids == []
