"""Gateways that freeze in the middle of taking a turn over, or of accepting one, and thaw behind everybody's back."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import ClassVar

import pytest
from redis.asyncio import Redis

from gateway.errors import ShuttingDown
from gateway.inference import Finished, PromptTokens, TextDelta
from gateway.protocol.create import ResponseCreate
from gateway.runtime.drain import Drain
from gateway.store.history.turn_store import TurnStore
from gateway.store.leases import Leases
from gateway.store.turn_log.fencing import Segments
from gateway.turn.records import CommitResult, TurnRecord
from tests.gateway.builders import Wire
from tests.gateway.replica import PROMPT_IDS, FakeEngine, Replica, collect_events, replica, text_stream
from tests.gateway.takeovers import TEXT, abandon_turn, count_listed, takeover_by

ASKED = ResponseCreate(input="go")


class Frozen:
    """Where somebody stands still until it is let go."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def here(self) -> None:
        self.reached.set()
        await self.go.wait()


def said(events: list[Wire]) -> str:
    return "".join(event.get("delta", "") for event in events)


async def test_a_gateway_paused_after_its_fence_finds_that_it_has_lost_the_turn(
    owner: Replica, taker: Replica, redis: Redis, port: int
) -> None:
    behind_the_seal = Frozen()

    class FreezingSegments(Segments):
        async def fence(self, *told: object) -> bool:
            sealed = await super().fence(*told)  # type: ignore[arg-type]
            await behind_the_seal.here()
            return sealed

    taker.engine.events = text_stream(TEXT.upper())  # as an engine says something else at a temperature
    response_id = await abandon_turn(owner)
    third_engine = FakeEngine(*text_stream(TEXT))
    third_engine.hold = asyncio.Event()
    async with (
        replica(port, third_engine, name="g3") as third,
        takeover_by(taker, redis, FreezingSegments) as takeover,
        takeover_by(third, redis, name="g3") as third_takeover,
    ):
        freezing = asyncio.create_task(takeover.take_over_all("g1"))
        await behind_the_seal.reached.wait()
        await third_takeover.take_over_all("g2")  # the lease of the frozen one has lapsed
        behind_the_seal.go.set()
        await freezing
        assert taker.registry.find("user_1", response_id) is None
        running = third.registry.find("user_1", response_id)
        assert running is not None
        third_engine.hold.set()
        assert said(await collect_events(running)) == TEXT
        await third.registry.finish(5)
        kept = await third.responses.get("user_1", response_id)
    assert (kept.owner, kept.response.status) == ("g3", "completed")
    assert [await count_listed(redis, name) for name in ("g1", "g2", "g3")] == [0, 0, 0]


@pytest.fixture
async def accepting(port: int) -> AsyncIterator[tuple[Replica, Frozen]]:
    """A gateway that freezes when it has listed a turn and read everything, just before it accepts."""
    before = Frozen()

    class FreezingThreads(TurnStore):
        async def accept(self, record: TurnRecord) -> str:
            await before.here()
            return await super().accept(record)

    async with replica(port, FakeEngine(*text_stream(TEXT)), store=FreezingThreads) as found:
        yield found, before


async def test_a_turn_accepted_during_a_drain_continues_elsewhere(
    accepting: tuple[Replica, Frozen], taker: Replica, redis: Redis
) -> None:
    leaving, before = accepting
    asking = asyncio.create_task(leaving.turns.start("user_1", ASKED))
    await before.reached.wait()
    lease = Leases(redis, "g1")
    await lease.renew()
    drain = Drain(leaving.registry, lease, leaving.reader, "g1", seconds=0)
    async with takeover_by(taker, redis) as takeover:
        await drain.finish()
        await takeover.take_over_all("g1")  # finds it listed, and not accepted yet
        before.go.set()
        answer = await asking
        assert answer.running is not None
        following = asyncio.create_task(events_of(leaving, answer.response_id))
        await answer.running.log.events.wait_closed()
        assert not answer.running.log.events.is_complete
        await takeover.take_over_all("g1")
        assert said(await following) == TEXT


async def events_of(gateway: Replica, response_id: str) -> list[Wire]:
    return [json.loads(text) async for text in gateway.following.follow("user_1", response_id)]


async def test_a_request_to_a_closed_gateway_is_refused_and_not_listed(port: int, redis: Redis) -> None:
    counting = Frozen()

    class SlowEngine(FakeEngine):
        async def model(self) -> str:
            await counting.here()
            return await super().model()

    async with replica(port, SlowEngine()) as gateway:
        asking = asyncio.create_task(gateway.turns.start("user_1", ASKED))
        await counting.reached.wait()
        gateway.registry.close()
        counting.go.set()
        with pytest.raises(ShuttingDown):
            await asking
    assert await count_listed(redis, "g1") == 0
    assert [key for key in await redis.keys() if b"response" in key] == []


async def test_a_turn_unlisted_during_a_pause_of_its_gateway_is_listed_again(
    accepting: tuple[Replica, Frozen], redis: Redis
) -> None:
    gateway, before = accepting
    gateway.turns.listed_seconds = 0
    gateway.engine.hold = asyncio.Event()
    asking = asyncio.create_task(gateway.turns.start("user_1", ASKED))
    await before.reached.wait()
    await redis.delete("parley:gateway:g1:turns")  # whoever takes it for dead waits long, and then tidies up
    before.go.set()
    await asking
    assert await count_listed(redis, "g1") == 1


async def test_a_gateway_can_take_back_a_turn_before_it_notices_the_loss(
    owner: Replica, taker: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    old = owner.registry.find("user_1", response_id)
    assert old is not None
    taker.engine.hold = asyncio.Event()
    async with takeover_by(taker, redis) as takeover, takeover_by(owner, redis, name="g1") as thawed:
        await takeover.take_over_all("g1")
        await taker.registry.release()
        await thawed.take_over_all("g2")
        new = owner.registry.find("user_1", response_id)
        assert new is not None
        assert new is not old
        assert old.log.is_fenced_off
        while sum(task.get_name() == response_id for task in owner.registry._tasks) > 1:
            await asyncio.sleep(0.005)  # until the old one has ended
        assert owner.registry.find("user_1", response_id) is new
        assert await count_listed(redis, "g1") == 1
        assert owner.engine.hold is not None
        owner.engine.hold.set()
        assert said(await collect_events(new)) == TEXT


class Joining(FakeEngine):
    """Its last chunk has the end of the text, the id that ends a text, and the reason in it."""

    END: ClassVar = 151645

    def __init__(self) -> None:
        super().__init__(
            PromptTokens(PROMPT_IDS), TextDelta("a", (97,)), TextDelta("b", (98, self.END)), Finished("stop")
        )


async def test_nothing_is_generated_after_the_end_of_sequence_token(port: int, taker: Replica, redis: Redis) -> None:
    never = Frozen()

    class Forgetting(TurnStore):
        async def commit(self, *args: object, **more: object) -> CommitResult:
            await never.here()
            return CommitResult.FENCED_OFF

    async with replica(port, Joining(), store=Forgetting) as first:
        running = await first.begin_turn(ASKED)
        await never.reached.wait()  # all of the text is in the log, and nothing in history
        async with takeover_by(taker, redis) as takeover:
            await takeover.take_over_all("g1")
            going_on = taker.registry.find("user_1", running.request.response_id)
            assert going_on is not None
            events = await collect_events(going_on)
        never.go.set()
    assert said(events) == "ab"
    assert events[-1]["type"] == "response.completed"
    assert (taker.engine.prompt_calls, taker.engine.continued_ids) == ([], [])


@pytest.mark.parametrize("gone", ["expired", "deleted"])
async def test_a_log_that_disappeared_during_a_pause_is_not_recreated(owner: Replica, redis: Redis, gone: str) -> None:
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    assert running is not None
    key = f"parley:{{user_1}}:response:{response_id}:log"
    if gone == "deleted":
        await owner.responses.delete("user_1", await owner.responses.get("user_1", response_id))
    else:
        assert await redis.delete(key)
    assert owner.engine.hold is not None
    owner.engine.hold.set()
    await owner.registry.finish(5)
    assert running.log.is_fenced_off
    assert not await redis.exists(key)


async def test_a_paused_owner_learns_that_its_log_has_disappeared(owner: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    assert running is not None
    async with takeover_by(owner, redis, name="g1") as thawed:
        await thawed.fence_off_lost_turns()
        lost_before = running.log.is_fenced_off
        await redis.delete(f"parley:{{user_1}}:response:{response_id}:log")
        await thawed.fence_off_lost_turns()
    assert (lost_before, running.log.is_fenced_off) == (False, True)


async def test_deleting_a_response_deletes_every_segment_of_its_log(
    owner: Replica, taker: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    async with takeover_by(taker, redis) as takeover:
        await takeover.take_over_all("g1")
        with suppress(StopAsyncIteration):
            await anext(taker.following.follow("user_1", response_id))
        await taker.following.delete("user_1", response_id)
        await taker.registry.finish(5)
    assert [key for key in await redis.keys() if response_id.encode() in key] == []


async def test_a_turn_deleted_during_its_takeover_runs_nowhere(owner: Replica, taker: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)

    class Deleting(Segments):
        async def fence(self, *told: object) -> bool:
            sealed = await super().fence(*told)  # type: ignore[arg-type]
            await owner.responses.delete("user_1", await owner.responses.get("user_1", response_id))
            return sealed

    async with takeover_by(taker, redis, Deleting) as takeover:
        await takeover.take_over_all("g1")
    assert taker.registry.find("user_1", response_id) is None
    assert [await count_listed(redis, name) for name in ("g1", "g2")] == [0, 0]
    assert [key for key in await redis.keys() if response_id.encode() in key] == []
