"""Redis loses what it has acknowledged while an answer runs: the log has no hole (`gateway.store.turn_log.append`,
`gateway.store.turn_log.repair`)."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from dev.process import Process
from gateway.errors import StorageLost
from gateway.protocol.create import ResponseCreate
from gateway.runtime.running import RunningTurn
from gateway.store.health import StorageHealth
from gateway.store.turn_log.fencing import Segments
from tests.chaos.proxy import Proxy
from tests.gateway.conftest import running_redis
from tests.gateway.replica import FakeEngine, Replica, replica, text_stream

BEFORE, LOST, AFTER = "kept ", "lost ", "and after it"
USER = "user_1"


class SteppedEngine(FakeEngine):
    """Generates one more token for each `step`."""

    def __init__(self) -> None:
        super().__init__(*text_stream(BEFORE + LOST + AFTER))
        self.hold = asyncio.Event()

    def finish(self) -> None:
        assert self.hold is not None
        self.hold.set()

    async def step(self, running: RunningTurn, count: int) -> None:
        """Each token is an event of its own."""
        for _ in range(count):
            assert self.hold is not None
            events = len(running.log.events)
            held, self.hold = self.hold, asyncio.Event()
            held.set()
            while len(running.log.events) == events:
                await asyncio.sleep(0.005)


@dataclass
class Scene:
    """An answer that runs at `owner`, with a follower there and one on another gateway. The text `LOST` is shown and
    stored after `BEFORE`."""

    owner: Replica
    other: Replica
    engine: SteppedEngine
    running: RunningTurn
    conversation_id: str
    followers: list[asyncio.Task[list[str]]]

    @property
    def response_id(self) -> str:
        return self.running.request.response_id

    async def show(self, text: str) -> None:
        await self.engine.step(self.running, len(text))

    async def frames(self) -> list[str]:
        """What every follower, old or new, has received: the same whole answer."""
        received = [await follower for follower in self.followers]
        received += [await followed(gateway, self.response_id) for gateway in (self.owner, self.other)]
        assert all(frames == received[0] for frames in received)
        return received[0]


async def followed(gateway: Replica, response_id: str) -> list[str]:
    return [frame async for frame in gateway.following.follow(USER, response_id)]


@asynccontextmanager
async def scene(port: int) -> AsyncIterator[Scene]:
    engine = SteppedEngine()
    async with replica(port, engine) as owner, replica(port, name="g2") as other:
        other.reader.check_seconds = 0.1
        conversation_id = await owner.create_conversation()
        running = await owner.begin_turn(ResponseCreate(input="go", conversation=conversation_id))
        gateways = (owner, other)
        followers = [asyncio.create_task(followed(one, running.request.response_id)) for one in gateways]
        while not len(running.log.events):
            await asyncio.sleep(0.005)
        found = Scene(owner, other, engine, running, conversation_id, followers)
        yield found
        for follower in followers:
            follower.cancel()


def text_of(frames: list[str]) -> str:
    return "".join(json.loads(frame).get("delta", "") for frame in frames)


async def assert_whole(found: Scene) -> None:
    frames = await found.frames()
    assert [json.loads(frame)["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert json.loads(frames[-1])["type"] == "response.completed"
    assert text_of(frames) == BEFORE + LOST + AFTER
    assert await found.owner.stored_texts(found.conversation_id) == ["go", BEFORE + LOST + AFTER]
    replayed = await Segments(found.owner.redis).read(USER, found.response_id)
    assert list(replayed.frames) == frames


@pytest.fixture
def second_redis(tmp_path: Path) -> Iterator[Process]:
    yield from running_redis(tmp_path / "second")


async def wait_for_text(found: Scene) -> None:
    """The first letter is the one that the engine waits after."""
    while text_of(list(found.running.log.events.frames)) != BEFORE[:1]:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("size", [40, 400])
async def test_the_end_that_redis_cuts_off_its_file_is_stored_again(
    durable_redis: Process, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    async with scene(durable_redis.command.port) as found:
        await wait_for_text(found)
        await found.show((BEFORE + LOST)[1:])
        durable_redis.kill()
        (file,) = durable_redis.log.parent.glob("appendonlydir/*.incr.aof")
        with file.open("rb+") as opened:
            opened.truncate(file.stat().st_size - size)
        await asyncio.to_thread(durable_redis.restart)
        found.engine.finish()
        await assert_whole(found)
    assert "redis had lost the end of a log" in caplog.text


async def test_the_end_that_a_replica_lacks_at_a_failover_is_stored_again(
    durable_redis: Process, second_redis: Process, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Proxy(durable_redis.command.port) as address,
        Proxy(durable_redis.command.port) as link,
        scene(address.port) as found,
        Redis(port=second_redis.command.port) as promoted,
    ):
        await wait_for_text(found)
        await replicate(found.owner.redis, promoted, link)
        await found.show(BEFORE[1:])
        await replicated(found.owner.redis, promoted)
        link.stall()
        await found.show(LOST)
        durable_redis.kill()
        await promoted.replicaof("NO", "ONE")
        address.target = second_redis.command.port
        address.reset()
        found.engine.finish()
        await assert_whole(found)
    assert "redis had lost the end of a log" in caplog.text


async def replicate(primary: Redis, secondary: Redis, link: Proxy) -> None:
    await primary.config_set("repl-diskless-sync-delay", "0")
    await secondary.replicaof("127.0.0.1", str(link.port))
    await replicated(primary, secondary)


async def replicated(primary: Redis, secondary: Redis) -> None:
    """All that the primary has now."""
    await primary.incr("parley:replicated")
    newest = await primary.get("parley:replicated")
    while await secondary.get("parley:replicated") != newest:
        await asyncio.sleep(0.02)


async def test_after_a_failover_that_lost_the_question_every_follower_is_told(
    durable_redis: Process, second_redis: Process
) -> None:
    async with Proxy(durable_redis.command.port) as address, scene(address.port) as found:
        await wait_for_text(found)
        durable_redis.kill()
        address.target = second_redis.command.port
        address.reset()
        found.engine.finish()
        for follower in found.followers:
            last = json.loads((await follower)[-1])
            assert (last["type"], last["error"]["code"]) == ("error", "not_found")
        async with Redis(port=second_redis.command.port) as redis:
            assert await redis.keys("*:log*") == []


async def test_when_redis_is_emptied_every_follower_is_told_and_health_says_so(redis: Redis, port: int) -> None:
    health = StorageHealth(redis)
    await health.check()
    async with scene(port) as found:
        await wait_for_text(found)
        await found.show(BEFORE[1:])
        await redis.flushall()
        found.engine.finish()
        for follower in found.followers:
            frames = await follower
            last = json.loads(frames[-1])
            assert text_of(frames) == BEFORE
            assert (last["type"], last["error"]["code"]) == ("error", "not_found")
        assert await redis.keys("*:log*") == []
        with pytest.raises(StorageLost):
            await health.ping()
