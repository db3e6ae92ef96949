"""Gateways that pause in the middle of a takeover, or of an acceptance, and resume after another has taken over."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import ClassVar

import pytest
from redis.asyncio import Redis

from gateway.errors import ShuttingDown
from gateway.inference import Finished, PromptTokens, TextDelta
from gateway.runtime.drain import Drain
from gateway.store.history.turn_store import TurnStore
from gateway.store.leases import Leases
from gateway.store.turn_log.fencing import Segments
from gateway.turn.records import CommitResult, TurnRecord
from tests.gateway.builders import Wire
from tests.gateway.replica import PROMPT_IDS, REQUEST, FakeEngine, Replica, collect_events, replica, text_stream
from tests.gateway.takeovers import TEXT, abandon_turn, count_listed, takeover_by


class Pause:
    """A point in the code where a gateway stops until `resume` is set."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.resume = asyncio.Event()

    async def wait(self) -> None:
        self.reached.set()
        await self.resume.wait()


def output_text(events: list[Wire]) -> str:
    return "".join(event.get("delta", "") for event in events)


async def test_a_gateway_paused_after_its_fence_finds_that_it_has_lost_the_turn(
    owner: Replica, successor: Replica, redis: Redis, port: int
) -> None:
    pause = Pause()

    class PausingSegments(Segments):
        async def fence(self, *arguments: object) -> bool:
            fenced = await super().fence(*arguments)  # type: ignore[arg-type]
            await pause.wait()
            return fenced

    successor.engine.events = text_stream(TEXT.upper())  # as an engine does at a temperature above 0
    response_id = await abandon_turn(owner)
    third_engine = FakeEngine(*text_stream(TEXT))
    third_engine.hold = asyncio.Event()
    async with (
        replica(port, third_engine, name="g3") as third,
        takeover_by(successor, redis, PausingSegments) as takeover,
        takeover_by(third, redis, name="g3") as third_takeover,
    ):
        paused_takeover = asyncio.create_task(takeover.take_over_all("g1"))
        await pause.reached.wait()
        await third_takeover.take_over_all("g2")  # the lease of the paused one has expired
        pause.resume.set()
        await paused_takeover
        assert successor.registry.find("user_1", response_id) is None
        running = third.registry.find("user_1", response_id)
        assert running is not None
        third_engine.hold.set()
        assert output_text(await collect_events(running)) == TEXT
        await third.registry.finish(5)
        stored = await third.responses.get("user_1", response_id)
    assert (stored.owner, stored.response.status) == ("g3", "completed")
    assert [await count_listed(redis, name) for name in ("g1", "g2", "g3")] == [0, 0, 0]


@pytest.fixture
async def paused_gateway(port: int) -> AsyncIterator[tuple[Replica, Pause]]:
    """A gateway that pauses after it has listed and prepared a turn, just before it accepts it."""
    pause = Pause()

    class PausingStore(TurnStore):
        async def accept(self, record: TurnRecord) -> str:
            await pause.wait()
            return await super().accept(record)

    async with replica(port, FakeEngine(*text_stream(TEXT)), store=PausingStore) as found:
        yield found, pause


async def test_a_turn_accepted_during_a_drain_continues_elsewhere(
    paused_gateway: tuple[Replica, Pause], successor: Replica, redis: Redis
) -> None:
    draining, pause = paused_gateway
    request = asyncio.create_task(draining.turns.start("user_1", REQUEST))
    await pause.reached.wait()
    lease = Leases(redis, "g1")
    await lease.renew()
    drain = Drain(draining.registry, lease, draining.reader, "g1", seconds=0)
    async with takeover_by(successor, redis) as takeover:
        await drain.finish()
        await takeover.take_over_all("g1")  # finds it listed, and not accepted yet
        pause.resume.set()
        answer = await request
        assert answer.running is not None
        following = asyncio.create_task(draining.followed_events(answer.response_id))
        await answer.running.log.events.wait_closed()
        assert not answer.running.log.events.is_complete
        await takeover.take_over_all("g1")
        assert output_text(await following) == TEXT
        await successor.registry.finish(5)


async def test_a_request_to_a_closed_gateway_is_refused_and_not_listed(port: int, redis: Redis) -> None:
    pause = Pause()

    class PausingEngine(FakeEngine):
        async def model(self) -> str:
            await pause.wait()
            return await super().model()

    async with replica(port, PausingEngine()) as gateway:
        request = asyncio.create_task(gateway.turns.start("user_1", REQUEST))
        await pause.reached.wait()
        gateway.registry.close()
        pause.resume.set()
        with pytest.raises(ShuttingDown):
            await request
    assert await count_listed(redis, "g1") == 0
    assert [key for key in await redis.keys() if b"response" in key] == []


async def test_a_turn_unlisted_during_a_pause_of_its_gateway_is_listed_again(
    paused_gateway: tuple[Replica, Pause], redis: Redis
) -> None:
    gateway, pause = paused_gateway
    gateway.turns.listed_seconds = 0
    gateway.engine.hold = asyncio.Event()
    request = asyncio.create_task(gateway.turns.start("user_1", REQUEST))
    await pause.reached.wait()
    await redis.delete("parley:gateway:g1:turns")  # as a gateway does that takes it for dead
    pause.resume.set()
    await request
    assert await count_listed(redis, "g1") == 1


async def test_a_gateway_can_take_back_a_turn_before_it_notices_the_loss(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    old = owner.registry.find("user_1", response_id)
    assert old is not None
    successor.engine.hold = asyncio.Event()
    async with takeover_by(successor, redis) as takeover, takeover_by(owner, redis, name="g1") as owner_takeover:
        await takeover.take_over_all("g1")
        await successor.registry.release()
        await owner_takeover.take_over_all("g2")
        new = owner.registry.find("user_1", response_id)
        assert new is not None
        assert new is not old
        assert old.log.is_fenced_off
        while sum(task.get_name() == response_id for task in owner.registry._tasks) > 1:
            await asyncio.sleep(0.005)  # until the old one has ended
        assert owner.registry.find("user_1", response_id) is new
        assert await count_listed(redis, "g1") == 1
        owner.proceed()
        assert output_text(await collect_events(new)) == TEXT


class JoiningEngine(FakeEngine):
    """Its last chunk holds the end of the text, the end-of-sequence token and the finish reason."""

    END: ClassVar = 151645

    def __init__(self) -> None:
        super().__init__(
            PromptTokens(PROMPT_IDS), TextDelta("a", (97,)), TextDelta("b", (98, self.END)), Finished("stop")
        )


async def test_nothing_is_generated_after_the_end_of_sequence_token(
    port: int, successor: Replica, redis: Redis
) -> None:
    pause = Pause()

    class UncommittedStore(TurnStore):
        async def commit(self, *args: object, **more: object) -> CommitResult:
            await pause.wait()
            return CommitResult.FENCED_OFF

    async with replica(port, JoiningEngine(), store=UncommittedStore) as first:
        running = await first.begin_turn(REQUEST)
        await pause.reached.wait()  # all of the text is in the log, and nothing in history
        async with takeover_by(successor, redis) as takeover:
            await takeover.take_over_all("g1")
            continued = successor.registry.find("user_1", running.request.response_id)
            assert continued is not None
            events = await collect_events(continued)
        pause.resume.set()
    assert output_text(events) == "ab"
    assert events[-1]["type"] == "response.completed"
    assert (successor.engine.prompt_calls, successor.engine.continued_ids) == ([], [])


@pytest.mark.parametrize("how", ["expired after a takeover", "deleted"])
async def test_a_log_that_disappeared_during_a_pause_is_not_recreated(owner: Replica, redis: Redis, how: str) -> None:
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    assert running is not None
    key = f"parley:{{user_1}}:response:{response_id}:log"
    if how == "deleted":
        await owner.responses.delete("user_1", await owner.responses.get("user_1", response_id))
    else:
        await owner.responses.claim("user_1", response_id, "g2", 1)
        assert await redis.delete(key)
    owner.proceed()
    await owner.registry.finish(5)
    assert running.log.is_fenced_off
    assert not await redis.exists(key)


async def test_a_paused_owner_learns_that_its_log_has_disappeared(owner: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    assert running is not None
    async with takeover_by(owner, redis, name="g1") as owner_takeover:
        await owner_takeover.abandon_lost_turns()
        lost_before = running.log.is_fenced_off
        await owner.responses.delete("user_1", await owner.responses.get("user_1", response_id))
        await owner_takeover.abandon_lost_turns()
    assert (lost_before, running.log.is_fenced_off) == (False, True)


async def test_deleting_a_response_deletes_every_segment_of_its_log(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        with suppress(StopAsyncIteration):
            await anext(successor.following.follow("user_1", response_id))
        await successor.following.delete("user_1", response_id)
        await successor.registry.finish(5)
    assert [key for key in await redis.keys() if response_id.encode() in key] == []


async def test_a_turn_deleted_during_its_takeover_runs_nowhere(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)

    class DeletingSegments(Segments):
        async def fence(self, *arguments: object) -> bool:
            fenced = await super().fence(*arguments)  # type: ignore[arg-type]
            await owner.responses.delete("user_1", await owner.responses.get("user_1", response_id))
            return fenced

    async with takeover_by(successor, redis, DeletingSegments) as takeover:
        await takeover.take_over_all("g1")
    assert successor.registry.find("user_1", response_id) is None
    assert [await count_listed(redis, name) for name in ("g1", "g2")] == [0, 0]
    assert [key for key in await redis.keys() if response_id.encode() in key] == []
