"""Which gateway owns a log: a fence that only one can add, and after which nothing follows."""

import asyncio
from typing import Any

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


class PageRecorder(Redis):
    """The sizes of the pages that it has read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pages: list[int] = []

    async def xrange(self, *arguments: Any, **options: Any) -> Any:
        page: Any = await super().xrange(*arguments, **options)
        self.pages.append(len(page))
        return page


async def test_a_log_without_a_takeover_is_one_segment(redis: Redis) -> None:
    assert await Segments(redis).read(USER, RESPONSE) == ReplayedEvents([], [], 0, None)
    await add(redis, 0, 1)
    assert await Segments(redis).read(USER, RESPONSE) == ReplayedEvents([(b"1-0", {b"e": b"1"})], ["1"], 0, None)


async def test_the_events_of_all_segments_are_read_in_order_without_the_fences(redis: Redis) -> None:
    segments = Segments(redis)
    for segment, number in enumerate((1, 2, 3)):
        await add(redis, segment, number)
        if segment < 2:
            assert await segments.fence(USER, RESPONSE, segment, f"g{segment}")
    replayed = await segments.read(USER, RESPONSE)
    assert [entry_id for entry_id, _ in replayed.entries] == [b"1-0", b"2-0", b"3-0"]
    assert (replayed.segment, replayed.owner) == (2, "g1")


async def test_a_log_longer_than_a_page_is_read_whole_across_a_fence(redis: Redis) -> None:
    segments, count = Segments(redis), 1_201
    for segment in (0, 1):
        async with redis.pipeline() as pipe:
            for number in range(segment * count + 1, (segment + 1) * count + 1):
                pipe.xadd(segment_key(USER, RESPONSE, segment), {"e": str(number)}, id=f"{number}-0")
            await pipe.execute()
        assert segment or await segments.fence(USER, RESPONSE, 0, "g2")
    replayed = await segments.read(USER, RESPONSE)
    assert replayed.frames == [str(number) for number in range(1, 2 * count + 1)]
    assert [entry_id for entry_id, _ in replayed.entries] == [b"%d-0" % n for n in range(1, 2 * count + 1)]
    assert (replayed.segment, replayed.owner, replayed.first_number) == (1, "g2", count)


async def test_a_long_log_is_read_in_steps(redis: Redis) -> None:
    count = 5_000
    async with redis.pipeline() as pipe:
        for number in range(1, count + 1):
            pipe.xadd(segment_key(USER, RESPONSE, 0), {"e": "x" * 100}, id=f"{number}-0")
        await pipe.execute()
    async with PageRecorder(connection_pool=redis.connection_pool) as recorder:
        replayed = await Segments(recorder).read(USER, RESPONSE)
    assert len(replayed.frames) == count
    assert max(recorder.pages) <= 500


async def test_nothing_can_be_added_after_a_fence(redis: Redis) -> None:
    await add(redis, 0, 1)
    assert await Segments(redis).fence(USER, RESPONSE, 0, "g2")
    with pytest.raises(ResponseError, match="exhausted the last possible ID"):
        await add(redis, 0, 2)


async def test_of_many_concurrent_fences_one_is_accepted(redis: Redis) -> None:
    segments = Segments(redis)
    names = [f"g{number}" for number in range(20)]
    accepted = await asyncio.gather(*(segments.fence(USER, RESPONSE, 0, name) for name in names))
    assert sum(accepted) == 1
    assert (await segments.read(USER, RESPONSE)).owner == names[accepted.index(True)]


async def test_a_log_without_events_can_be_fenced_and_expires(redis: Redis) -> None:
    segments = Segments(redis)
    assert await segments.fence(USER, RESPONSE, 0, "g2")
    assert await segments.read(USER, RESPONSE) == ReplayedEvents([], [], 1, "g2")
    assert await redis.ttl(segment_key(USER, RESPONSE, 0)) > 0


async def test_an_unreachable_redis_is_not_reported_as_a_lost_race(durable_redis: Process) -> None:
    async with connection(durable_redis.command.port) as redis:
        durable_redis.kill()
        for asked in (Segments(redis).read(USER, RESPONSE), Segments(redis).fence(USER, RESPONSE, 0, "g2")):
            with pytest.raises(Unavailable):
                await asked


async def test_what_is_behind_a_hole_is_not_read_and_the_next_segment_closes_the_hole(redis: Redis) -> None:
    segments = Segments(redis)
    for number in (1, 2, 5):
        await add(redis, 0, number)
    assert [entry_id for entry_id, _ in (await segments.read(USER, RESPONSE)).entries] == [b"1-0", b"2-0"]
    assert await segments.fence(USER, RESPONSE, 0, "g1")
    for number in (3, 4):
        await add(redis, 1, number)
    replayed = await segments.read(USER, RESPONSE)
    assert [entry_id for entry_id, _ in replayed.entries] == [b"1-0", b"2-0", b"3-0", b"4-0"]
    assert (replayed.segment, replayed.first_number) == (1, 2)
