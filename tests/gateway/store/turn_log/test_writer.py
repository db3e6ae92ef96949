"""The events of a turn in a real Redis, also with faults on the way to it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from dev.process import Process
from gateway.errors import EngineFailed
from gateway.inference import TextDelta, ToolCallDelta
from gateway.protocol.resources import WindowUse
from gateway.store.history.responses import ResponseStore
from gateway.store.keys import segment_key
from gateway.store.turn_log.fencing import Segments
from gateway.store.turn_log.repair import LogRepair
from gateway.store.turn_log.writer import Writer
from gateway.turn.event_buffer import EventBuffer
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import decode_frame, token_ids
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import ReplayedEvents
from gateway.turn.state_machine import Completed, Created
from tests.gateway.builders import add_records, background_task, connection, keys_of, log_writer, lose_newest, turn

COMPLETED = Completed(None, 1)
RETENTION_SECONDS = 60


class Proxy:
    """In front of Redis, with one fault at the first events.

    "close" drops the reply and closes, "silence" only drops it, "refuse" makes the first of many commands invalid.
    """

    def __init__(self, redis_port: int, fault: Literal["close", "silence", "refuse"]) -> None:
        self.fault = fault
        self.struck = False
        self._redis_port = redis_port
        self._swallowing: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection("127.0.0.1", self._redis_port)
        back = asyncio.create_task(self._answers(answers, writer))
        try:
            while data := await reader.read(1 << 20):
                requests.write(self._struck(data, writer))
        except ConnectionError:
            pass
        back.cancel()
        for one in (requests, writer):
            one.close()

    def _struck(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        if self.struck or b"XADD" not in data:
            return data
        self.struck = True
        if self.fault == "refuse":
            return data.replace(b"XADD", b"XODD", 1)
        self._swallowing.add(writer)
        return data

    async def _answers(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await answers.read(1 << 20):
            if writer not in self._swallowing:
                writer.write(data)
            elif self.fault == "close":
                writer.close()


@asynccontextmanager
async def writing(port: int, *, patience_seconds: float = 2) -> AsyncIterator[Writer]:
    async with connection(port, patience_seconds) as redis:
        await accept(redis)
        writer = log_writer(redis)
        async with background_task(writer.run()):
            yield writer


async def accept(redis: Redis) -> None:
    """The turns that these tests begin."""
    await add_records(redis, *((f"user_{number}", "resp_1") for number in range(50)))


def begin(writer: Writer, number: int = 1) -> TurnLog:
    log = writer.open(turn(user_id=f"user_{number}"))
    log.append(Created())
    log.append(WindowUse(0, 5, 4096))
    return log


def say(log: TurnLog, text: str) -> None:
    """Each letter a token of its own."""
    for letter in text:
        log.append(TextDelta(letter, (ord(letter),)))


def end(log: TurnLog) -> None:
    log.append_entries(log.finish(COMPLETED))


async def shown(frames: EventBuffer) -> list[str]:
    return [text async for text in frames.follow()]


async def until_there_are(frames: EventBuffer, count: int) -> None:
    while len(frames) < count:
        await asyncio.sleep(0.005)


async def stored(redis: Redis, log: TurnLog) -> list[tuple[bytes, dict[bytes, bytes]]]:
    entries: Any = await redis.xrange(keys_of(log)[-1])
    return list(entries)


async def test_redis_has_every_frame_under_its_number(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        log = begin(writer)
        say(log, "你好")
        end(log)
        frames = await shown(log.events)
    entries = await stored(redis, log)
    assert [entry_id for entry_id, _ in entries] == [b"%d-0" % (number + 1) for number in range(len(frames))]
    assert [decode_frame(*entry) for entry in entries] == frames
    assert [json.loads(text)["sequence_number"] for text in frames] == list(range(len(frames)))


async def test_an_event_is_in_redis_before_a_follower_sees_it(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        log = begin(writer)
        followed, letters = log.events.follow(), iter("abcdef")
        async for text in followed:
            (newest, _) = (await stored(redis, log))[-1]
            assert int(newest.partition(b"-")[0]) > json.loads(text)["sequence_number"]
            if (letter := next(letters, None)) is not None:
                say(log, letter)
            elif not log.turn.outcome:
                end(log)


async def test_a_lone_reader_sees_every_token_at_once(port: int) -> None:
    async with writing(port) as writer:
        log = begin(writer)
        for number, letter in enumerate("abc"):
            say(log, letter)
            await until_there_are(log.events, 5 + number)
        end(log)
        assert [json.loads(text).get("delta") for text in await shown(log.events)][4:7] == ["a", "b", "c"]


async def test_deltas_that_arrive_during_a_round_trip_are_one_event(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        log = begin(writer)
        say(log, "abc")
        end(log)
        await log.events.wait_closed()
    deltas = [fields for _, fields in await stored(redis, log) if b"d" in fields]
    assert [(fields[b"d"], token_ids([fields])) for fields in deltas] == [(b"abc", [97, 98, 99])]


class CountingRedis(Redis):
    pipelines = 0

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        self.pipelines += 1
        return super().pipeline(transaction, shard_hint)


async def test_the_events_of_many_turns_are_stored_in_one_round_trip(redis: Redis, port: int) -> None:
    async with CountingRedis(port=port) as counting:
        await accept(redis)
        writer = log_writer(counting)
        logs = [begin(writer, number) for number in range(50)]
        for log in logs:
            say(log, "hello")
            end(log)
        task = asyncio.create_task(writer.run())
        frames = [await shown(log.events) for log in logs]
        task.cancel()
    assert counting.pipelines == 1
    assert [[decode_frame(*entry) for entry in await stored(redis, log)] for log in logs] == frames


async def test_the_events_of_a_finished_answer_expire(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        log = begin(writer)
        await until_there_are(log.events, 2)
        assert await redis.ttl(keys_of(log)[-1]) > RETENTION_SECONDS
        end(log)
        await log.events.wait_closed()
        assert 0 < await redis.ttl(keys_of(log)[-1]) <= RETENTION_SECONDS


async def test_an_answer_that_is_not_stored_is_published_and_not_written(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        log = writer.open(turn(thread_id=None))
        log.append(Created())
        say(log, "secret")
        end(log)
        assert "secret" in (await shown(log.events))[-1]
    assert await redis.keys("*:log*") == []


@pytest.mark.parametrize("fault", ["close", "silence"])
async def test_an_append_whose_reply_was_lost_adds_nothing_twice(
    redis: Redis, port: int, fault: Literal["close", "silence"]
) -> None:
    proxy = Proxy(port, fault)
    async with proxy.listening() as behind, writing(behind, patience_seconds=0.3) as writer:
        log = begin(writer)
        say(log, "abc")
        end(log)
        frames = await shown(log.events)
    assert proxy.struck
    assert [decode_frame(*entry) for entry in await stored(redis, log)] == frames
    assert [json.loads(text)["sequence_number"] for text in frames] == list(range(len(frames)))
    assert 0 < await redis.ttl(keys_of(log)[-1]) <= RETENTION_SECONDS


async def test_an_entry_that_was_refused_in_the_middle_is_not_lost(redis: Redis, port: int) -> None:
    async with Proxy(port, "refuse").listening() as behind, writing(behind) as writer:
        log = begin(writer)
        end(log)
        frames = await shown(log.events)
    assert [decode_frame(*entry) for entry in await stored(redis, log)] == frames


async def test_events_wait_for_a_redis_that_was_killed_and_arrive_once_and_in_order(
    durable_redis: Process, caplog: pytest.LogCaptureFixture
) -> None:
    port = durable_redis.command.port
    async with writing(port) as writer:
        log = begin(writer)
        say(log, "be")
        await until_there_are(log.events, 5)
        durable_redis.kill()
        say(log, "fo")
        while "events wait" not in caplog.text:
            await asyncio.sleep(0.01)
        say(log, "re")
        end(log)
        assert len(log.events) == 5
        await asyncio.to_thread(durable_redis.restart)
        frames = await shown(log.events)
        async with Redis(port=port) as redis:
            assert [decode_frame(*entry) for entry in await stored(redis, log)] == frames
    assert [json.loads(text)["sequence_number"] for text in frames] == list(range(len(frames)))
    assert json.loads(frames[-1])["response"]["output"][0]["content"][0]["text"] == "before"


async def test_nothing_is_stored_twice_after_redis_was_frozen(
    durable_redis: Process, caplog: pytest.LogCaptureFixture
) -> None:
    port = durable_redis.command.port
    async with writing(port, patience_seconds=0.2) as writer:
        log = begin(writer)
        await until_there_are(log.events, 2)
        durable_redis.pause()
        say(log, "late")
        end(log)
        while caplog.text.count("events wait") < 2:  # it has tried more than once
            await asyncio.sleep(0.01)
        assert len(log.events) == 2
        durable_redis.resume()
        frames = await shown(log.events)
        async with Redis(port=port) as redis:
            assert [decode_frame(*entry) for entry in await stored(redis, log)] == frames


async def test_a_fault_in_one_turn_does_not_stop_others(port: int) -> None:
    async with writing(port) as writer:
        broken, whole = begin(writer, 1), begin(writer, 2)
        for index in range(MAX_OUTPUT_ITEMS + 1):
            broken.append(ToolCallDelta(index, "{}", "f"))
        say(whole, "fine")
        end(whole)
        assert "fine" in (await shown(whole.events))[-1]
        with pytest.raises(EngineFailed):
            broken.append(TextDelta("more"))


async def test_a_log_that_redis_refuses_does_not_hold_the_others(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        key = segment_key("user_1", "resp_1", 0)
        await redis.set(key, "not a stream")
        refused, other = begin(writer, 1), begin(writer, 2)
        say(other, "fine")
        end(other)
        assert "fine" in (await shown(other.events))[-1]
        assert len(refused.events) == 0
        await redis.delete(key)
        say(refused, "later")
        end(refused)
        frames = await shown(refused.events)
    assert [decode_frame(*entry) for entry in await stored(redis, refused)] == frames


async def test_an_answer_that_is_not_stored_does_not_wait_for_redis(
    durable_redis: Process, caplog: pytest.LogCaptureFixture
) -> None:
    async with writing(durable_redis.command.port, patience_seconds=0.2) as writer:
        durable_redis.pause()
        waiting = begin(writer)
        while "events wait" not in caplog.text:
            await asyncio.sleep(0.01)
        log = writer.open(turn(thread_id=None))
        log.append(Created())
        say(log, "now")
        end(log)
        assert "now" in (await shown(log.events))[-1]
        assert len(waiting.events) == 0
        durable_redis.resume()
        await waiting.wait_flushed()


class BrokenClaims(ResponseStore):
    async def owner(self, user_id: str, response_id: str) -> tuple[str, int]:
        raise RuntimeError(f"no {response_id}")


async def test_a_bug_in_the_repair_of_one_log_does_not_stop_the_others(redis: Redis, port: int) -> None:
    await accept(redis)
    writer = Writer(redis, LogRepair(Segments(redis), BrokenClaims(redis), "g1"), retention_seconds=RETENTION_SECONDS)
    async with background_task(writer.run()):
        damaged, other = begin(writer, 1), begin(writer, 2)
        await damaged.wait_flushed()
        await lose_newest(redis, keys_of(damaged)[0])
        say(damaged, "a")
        await damaged.wait_flushed()
        assert damaged.is_fenced_off
        say(other, "fine")
        end(other)
        assert "fine" in (await shown(other.events))[-1]


async def test_a_fenced_log_stops_growing_and_is_fenced_off(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        mine, other = begin(writer, 1), begin(writer, 2)
        await mine.wait_flushed()
        assert await Segments(redis).fence("user_1", "resp_1", 0, "g2")
        say(mine, "late")
        end(mine)
        say(other, "fine")
        end(other)
        assert len(await shown(mine.events)) == 2
        assert "fine" in (await shown(other.events))[-1]
    assert (mine.is_fenced_off, mine.events.is_complete) == (True, False)
    assert [fields.get(b"seal") for _, fields in await stored(redis, mine)] == [None, None, b"g2"]


async def test_an_append_before_the_fence_whose_reply_was_lost_is_replayed_by_the_next_owner(
    redis: Redis, port: int
) -> None:
    proxy = Proxy(port, "silence")
    async with proxy.listening() as behind, writing(behind, patience_seconds=0.3) as writer:
        log = begin(writer)
        say(log, "kept")
        while not await redis.exists(keys_of(log)[-1]):
            await asyncio.sleep(0.005)
        assert await Segments(redis).fence("user_1", "resp_1", 0, "g2")
        assert await shown(log.events) == []
        replayed = await Segments(redis).read("user_1", "resp_1")
    assert log.is_fenced_off
    assert "kept" in "".join(decode_frame(*entry) for entry in replayed.entries)


async def begin_fenced(writer: Writer, redis: Redis, owner: str) -> tuple[TurnLog, ReplayedEvents]:
    """A log whose first segment `owner` has fenced, and what it stored until then."""
    log = begin(writer)
    say(log, "a")
    await log.wait_flushed()
    await Segments(redis).fence("user_1", "resp_1", 0, owner)
    return log, await Segments(redis).read("user_1", "resp_1")


async def test_a_log_continues_in_its_next_segment_after_a_takeover(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        first, replayed = await begin_fenced(writer, redis, "g2")
        await ResponseStore(redis).claim("user_1", "resp_1", "g2", replayed.segment)
        frames = [decode_frame(*entry) for entry in replayed.entries]
        log = writer.open(first.turn, replayed)
        say(log, "b")
        end(log)
        assert (await shown(log.events))[: len(frames)] == frames
        assert all([0 < await redis.ttl(key) <= RETENTION_SECONDS for key in keys_of(log)])
    assert keys_of(log) == [keys_of(first)[0], keys_of(first)[0] + ":1"]
    assert (await stored(redis, log))[0][0] == b"%d-0" % (len(frames) + 1)


async def test_a_log_does_not_begin_in_a_redis_that_has_lost_its_turn(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        await redis.flushall()
        log = begin(writer)
        assert await shown(log.events) == []
        assert log.is_fenced_off


async def test_a_segment_whose_fence_was_lost_is_not_continued_where_nobody_looks(redis: Redis, port: int) -> None:
    async with writing(port) as writer:
        first, replayed = await begin_fenced(writer, redis, "g1")
        log = writer.open(first.turn, replayed)
        await lose_newest(redis, keys_of(first)[0])
        say(log, "b")
        end(log)
        frames = await shown(log.events)
        replayed = await Segments(redis).read("user_1", "resp_1")
    assert [decode_frame(*entry) for entry in replayed.entries] == frames


@pytest.mark.parametrize("lost", [1, 3, 20])
async def test_an_append_finds_that_entries_before_it_were_lost(redis: Redis, port: int, lost: int) -> None:
    async with writing(port) as writer:
        log = begin(writer)
        for letter in "abcd":
            say(log, letter)
            await log.wait_flushed()
        for _ in range(lost):
            await lose_newest(redis, keys_of(log)[0])
        say(log, "e")
        await log.wait_flushed()
        end(log)
        frames = await shown(log.events)
        replayed = await Segments(redis).read("user_1", "resp_1")
    assert [decode_frame(*entry) for entry in replayed.entries] == frames
    assert token_ids(fields for _, fields in replayed.entries) == [ord(letter) for letter in "abcde"]
