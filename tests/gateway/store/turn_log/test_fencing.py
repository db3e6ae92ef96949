"""Who owns a log: a seal that only one can add, and after which nothing follows."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from dev.process import Process
from gateway.errors import Unavailable
from gateway.store.keys import segment_key
from gateway.store.turn_log.fencing import Segments
from gateway.turn.records import ReplayedEvents
from tests.gateway.builders import connection

USER, RESPONSE = "user_1", "resp_1"


async def add(redis: Redis, segment: int, number: int) -> None:
    await redis.xadd(segment_key(USER, RESPONSE, segment), {"e": str(number)}, id=f"{number}-0")


async def test_a_log_that_nobody_took_over_is_one_segment(redis: Redis) -> None:
    assert await Segments(redis).read(USER, RESPONSE) == ReplayedEvents([], 0, None)
    await add(redis, 0, 1)
    assert await Segments(redis).read(USER, RESPONSE) == ReplayedEvents([(b"1-0", {b"e": b"1"})], 0, None)


async def test_the_events_of_all_segments_come_in_order_without_the_seals(redis: Redis) -> None:
    segments = Segments(redis)
    for segment, number in enumerate((1, 2, 3)):
        await add(redis, segment, number)
        if segment < 2:
            assert await segments.fence(USER, RESPONSE, segment, f"g{segment}")
    told = await segments.read(USER, RESPONSE)
    assert [entry_id for entry_id, _ in told.entries] == [b"1-0", b"2-0", b"3-0"]
    assert (told.segment, told.owner) == (2, "g1")


async def test_behind_a_seal_nothing_can_be_added(redis: Redis) -> None:
    await add(redis, 0, 1)
    assert await Segments(redis).fence(USER, RESPONSE, 0, "g2")
    with pytest.raises(ResponseError, match="exhausted the last possible ID"):
        await add(redis, 0, 2)


async def test_of_many_who_want_a_turn_one_gets_it(redis: Redis) -> None:
    segments = Segments(redis)
    names = [f"g{number}" for number in range(20)]
    got = await asyncio.gather(*(segments.fence(USER, RESPONSE, 0, name) for name in names))
    assert sum(got) == 1
    assert (await segments.read(USER, RESPONSE)).owner == names[got.index(True)]


async def test_a_turn_of_which_nothing_was_told_can_be_taken_too_and_expires(redis: Redis) -> None:
    segments = Segments(redis)
    assert await segments.fence(USER, RESPONSE, 0, "g2")
    assert await segments.read(USER, RESPONSE) == ReplayedEvents([], 1, "g2")
    assert await redis.ttl(segment_key(USER, RESPONSE, 0)) > 0


async def test_without_redis_nobody_is_told_that_somebody_was_faster(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        durable_redis.kill()
        for asked in (Segments(redis).read(USER, RESPONSE), Segments(redis).fence(USER, RESPONSE, 0, "g2")):
            with pytest.raises(Unavailable):
                await asked
