"""Following what another replica writes, through a real Redis (`followed_log`)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from dev.process import Process
from gateway.errors import Unavailable
from gateway.inference import OutputDelta, TextDelta, ToolCallDelta
from gateway.protocol.events import decode_event
from gateway.protocol.ids import new_response_id
from gateway.protocol.resources import WindowUse
from gateway.store.history.responses import ResponseStore
from gateway.store.keys import segment_key
from gateway.store.turn_log.fencing import Segments
from gateway.store.turn_log.reader import BLOCK_SECONDS, Reader
from gateway.turn.commands import CancelTurn, GatewayCommand, TakeOverTurns
from gateway.turn.log import TurnLog
from gateway.turn.state_machine import Completed, Created
from tests.gateway.builders import (
    add_records,
    answer_deltas,
    background_task,
    connection,
    log_writer,
    lose_newest,
    turn,
)

USER = "user_1"


class Owner:
    """The replica that runs the turn."""

    def __init__(self, redis: Redis) -> None:
        self.writer = log_writer(redis)
        self.segments, self.responses = Segments(redis), ResponseStore(redis)
        self.response_id = new_response_id()
        self.log: TurnLog = self.writer.open(turn(response_id=self.response_id))
        self.log.append(Created())
        self.log.append(WindowUse(0, 5, 4096))

    async def move(self) -> None:
        """Taken over between two events: another gateway fences the log and continues in the next segment."""
        await self.log.wait_flushed()
        await self.segments.fence(USER, self.response_id, self.log.segment, "g9")
        replayed = await self.segments.read(USER, self.response_id)
        await self.responses.claim(USER, self.response_id, "g9", replayed.segment)
        self.log = self.writer.open(self.log.turn, replayed)

    async def taken_over(self) -> TurnLog:
        """The log of a taker, which knows only what Redis has left; this owner is dead."""
        replayed = await self.segments.read(USER, self.response_id)
        await self.segments.fence(USER, self.response_id, replayed.segment, "g1")
        await self.responses.claim(USER, self.response_id, "g1", replayed.segment + 1)
        replayed, again = await self.segments.read(USER, self.response_id), turn(response_id=self.response_id)
        for frame in replayed.frames:
            again.replay(decode_event(frame))
        return self.writer.open(again, replayed)

    async def stored_frames(self) -> list[str]:
        return list((await self.segments.read(USER, self.response_id)).frames)

    def end(self) -> None:
        self.log.append_entries(self.log.finish(Completed(None, 1)))

    async def frames(self) -> list[str]:
        return [text async for text in self.log.events.follow()]


@asynccontextmanager
async def owning(port: int) -> AsyncIterator[Owner]:
    async with connection(port) as redis:
        owner = Owner(redis)
        await add_records(redis, (USER, owner.response_id))
        async with background_task(owner.writer.run()):
            yield owner


@asynccontextmanager
async def reading(
    port: int, handle: Callable[[GatewayCommand], None] = lambda _: None, name: str = "g2"
) -> AsyncIterator[Reader]:
    async with connection(port) as redis, connection(port, BLOCK_SECONDS + 2) as blocking:
        reader = Reader(redis, blocking, name)
        async with background_task(reader.run(lambda command, _: handle(command))):
            yield reader


async def followed(reader: Reader, owner: Owner, starting_after: int = -1) -> list[str]:
    async with reader.events(USER, owner.response_id) as frames:
        return [text async for text in frames.follow(starting_after)]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer_deltas(), st.integers(0, 30), st.integers(-1, 40))
async def test_a_follower_from_any_time_and_number_gets_the_owners_frames(
    port: int, pieces: Sequence[OutputDelta], join_at: int, starting_after: int
) -> None:
    async with owning(port) as owner, reading(port) as reader:
        follower = asyncio.create_task(followed(reader, owner, starting_after))
        for number, piece in enumerate(pieces):
            owner.log.append(piece)
            if number == join_at:
                await asyncio.sleep(0)
                later = asyncio.create_task(followed(reader, owner, starting_after))
                break
        else:
            later = follower
        for piece in pieces[join_at + 1 :]:
            owner.log.append(piece)
            await asyncio.sleep(0)
        owner.end()
        frames = await owner.frames()
        expected = frames[starting_after + 1 :]
        assert await follower == await later == await followed(reader, owner, starting_after) == expected


async def test_deltas_arrive_as_they_are_generated(port: int) -> None:
    async with owning(port) as owner, reading(port) as reader, reader.events(USER, owner.response_id) as frames:
        following = frames.follow(starting_after=3)
        for letter in "live":
            owner.log.append(TextDelta(letter))
            assert json.loads(await anext(following))["delta"] == letter


async def test_each_follower_gets_the_frames_of_its_own_answer(port: int) -> None:
    async with owning(port) as one, owning(port) as other, reading(port) as reader:
        followers = [asyncio.create_task(followed(reader, owner)) for owner in (one, one, other)]
        one.log.append(TextDelta("one"))
        other.log.append(ToolCallDelta(0, "{}", "other"))
        one.end()
        other.end()
        assert await asyncio.gather(*followers) == [await one.frames(), await one.frames(), await other.frames()]


async def test_a_follower_that_joins_after_another_left_misses_nothing(port: int) -> None:
    async with owning(port) as owner, reading(port) as reader:
        async with reader.events(USER, owner.response_id) as frames:
            await until(lambda: len(frames) == 2)
        follower = asyncio.create_task(followed(reader, owner))
        owner.end()
        assert await follower == await owner.frames()


async def test_an_answer_of_many_events_is_complete(port: int) -> None:
    async with owning(port) as owner, reading(port) as reader:
        for number in range(600):
            owner.log.append(ToolCallDelta(number % 100, "{}", "f") if number < 100 else TextDelta(f"{number} "))
            await until(lambda number=number: len(owner.log.events) > number)  # type: ignore[misc]
        owner.end()
        assert await followed(reader, owner) == await owner.frames()


async def test_the_log_of_another_user_does_not_exist(port: int) -> None:
    async with owning(port) as owner, reading(port) as reader:
        await until(lambda: len(owner.log.events) == 2)
        assert await reader.exists(USER, owner.response_id)
        assert not await reader.exists("user_2", owner.response_id)
        assert not await reader.exists(USER, new_response_id())


async def test_a_command_reaches_only_its_gateway(port: int) -> None:
    mine, others = list[GatewayCommand](), list[GatewayCommand]()
    async with reading(port, mine.append, "g1") as reader, reading(port, others.append, "g3") as third:
        await third.send_command("g1", CancelTurn("resp_1", 1))
        await reader.send_command("g1", TakeOverTurns("g3 你"))
        await until(lambda: len(mine) == 2)
    assert (mine, others) == ([CancelTurn("resp_1", 1), TakeOverTurns("g3 你")], [])


async def test_a_command_sent_before_the_gateway_reads_is_received(port: int) -> None:
    heard: list[GatewayCommand] = []
    async with reading(port) as other:
        await other.send_command("g1", CancelTurn("resp_1", 1))
    async with reading(port, heard.append, "g1"):
        await until(lambda: heard == [CancelTurn("resp_1", 1)])


async def test_a_command_that_fails_stops_neither_followers_nor_later_commands(port: int) -> None:
    heard: list[GatewayCommand] = []

    def handle(command: GatewayCommand) -> None:
        if command == CancelTurn("resp_bug", 1):
            raise ZeroDivisionError
        heard.append(command)

    async with owning(port) as owner, reading(port, handle) as reader:
        await reader.send_command("g2", CancelTurn("resp_bug", 1))
        owner.end()
        assert await followed(reader, owner) == await owner.frames()
        await reader.send_command("g2", CancelTurn("resp_1", 1))
        await until(lambda: CancelTurn("resp_1", 1) in heard)


async def test_a_command_that_fails_does_not_affect_others_of_the_same_read(port: int) -> None:
    heard: list[GatewayCommand] = []

    def handle(command: GatewayCommand) -> None:
        if command == CancelTurn("resp_bug", 1):
            raise ZeroDivisionError
        heard.append(command)

    async with reading(port) as other:
        for response_id in ("resp_bug", "resp_1"):
            await other.send_command("g1", CancelTurn(response_id, 1))
    async with reading(port, handle, "g1") as reader:
        await reader.send_command("g1", TakeOverTurns("last"))
        await until(lambda: TakeOverTurns("last") in heard)
    assert CancelTurn("resp_1", 1) in heard


async def test_unread_commands_are_bounded_and_expire(redis: Redis, port: int) -> None:
    async with reading(port) as reader:
        for _ in range(1500):
            await reader.send_command("absent", CancelTurn("resp_1", 1))
    assert await redis.xlen("parley:gateway:absent:control") < 1200
    assert await redis.ttl("parley:gateway:absent:control") > 0


async def test_followers_continue_in_the_next_segment_after_a_takeover(port: int) -> None:
    async with owning(port) as owner, reading(port) as reader:
        follower = asyncio.create_task(followed(reader, owner))
        for text in ("first", "second", "third"):
            owner.log.append(TextDelta(text))
            await owner.move()
        owner.log.append(TextDelta("fourth"))
        owner.end()
        frames = await owner.frames()
        assert await follower == await followed(reader, owner) == frames
    assert [json.loads(text)["sequence_number"] for text in frames] == list(range(len(frames)))
    assert owner.log.segment == 3


async def test_followers_continue_after_redis_was_killed(durable_redis: Process) -> None:
    port = durable_redis.command.port
    async with owning(port) as owner, reading(port) as reader:
        follower = asyncio.create_task(followed(reader, owner))
        await until(lambda: len(owner.log.events) == 2)
        await asyncio.to_thread(durable_redis.restart)
        owner.log.append(TextDelta("still here"))
        owner.end()
        assert await follower == await owner.frames()


async def test_without_redis_every_request_is_refused_by_name(durable_redis: Process) -> None:
    async with reading(durable_redis.command.port) as reader:
        durable_redis.kill()
        for asked in (
            reader.exists(USER, "resp_1"),
            reader.send_command("g1", CancelTurn("resp_1", 1)),
        ):
            with pytest.raises(Unavailable) as caught:
                await asked
            assert caught.value.dependency == "redis"


async def lose(redis: Redis, owner: Owner, count: int) -> None:
    for _ in range(count):
        await lose_newest(redis, segment_key(USER, owner.response_id, owner.log.segment))


async def test_an_event_behind_a_hole_is_not_shown_before_the_hole_is_closed(redis: Redis, port: int) -> None:
    async with owning(port) as owner, reading(port) as reader:
        owner.log.append(TextDelta("lost"))
        await owner.log.wait_flushed()
        frames, key = await owner.stored_frames(), segment_key(USER, owner.response_id, 0)
        await lose(redis, owner, 1)
        await redis.xadd(key, {"e": "behind"}, id=f"{len(frames) + 1}-0")
        async with reader.events(USER, owner.response_id) as events:
            await until(lambda: len(events) == len(frames) - 1)
            replayed = await owner.segments.read(USER, owner.response_id)
            owner.log.append(TextDelta("new"))  # the owner finds the hole
            owner.end()
            whole = await owner.frames()
            assert [text async for text in events.follow()] == whole
    assert list(replayed.frames) == frames[:-1]
    assert "lost" in whole[len(frames) - 1]


@pytest.mark.parametrize(("text", "is_lost"), [("seen", False), ("other", True)])
async def test_a_follower_is_told_if_the_next_owner_continues_with_something_else(
    redis: Redis, port: int, text: str, *, is_lost: bool
) -> None:
    async with owning(port) as owner, reading(port) as reader:
        await owner.log.wait_flushed()
        before = await owner.segments.read(USER, owner.response_id)
        async with reader.events(USER, owner.response_id) as events:
            owner.log.append(TextDelta("seen"))
            await owner.log.wait_flushed()
            shown = len(owner.log.events)
            await until(lambda: len(events) == shown)
            await lose(redis, owner, shown - len(before.entries))
            taker = await owner.taken_over()
            taker.append(TextDelta(text))
            taker.append_entries(taker.finish(Completed(None, 1)))
            await events.wait_closed()
            assert (events.is_lost, events.is_complete) == (is_lost, not is_lost)


async def test_a_hole_that_nobody_closes_ends_the_followers(redis: Redis, port: int) -> None:
    async with owning(port) as owner, reading(port) as reader:
        reader.check_seconds = 0.05
        await owner.log.wait_flushed()
        await redis.xadd(segment_key(USER, owner.response_id, 0), {"e": "behind"}, id="9-0")
        async with reader.events(USER, owner.response_id) as events:
            await events.wait_closed()
            assert (len(events), events.is_lost) == (2, True)
