"""A turn whose gateway is gone continues here: on a real Redis, with faults around the fence."""

import asyncio
import json
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from gateway.errors import AnswerInterrupted, InvalidRequest, Unavailable
from gateway.inference import PromptTokens, ReasoningTextDelta
from gateway.protocol.create import ResponseCreate
from gateway.runtime.preparation import PreparedTurn, TurnPreparation
from gateway.store.history.conversations import Conversations
from gateway.store.leases import Leases
from gateway.store.turn_log.fencing import Segments
from tests.contract import conformance
from tests.gateway.builders import Wire
from tests.gateway.replica import FakeEngine, Replica, collect_events, replica, text_stream
from tests.gateway.takeovers import TEXT, abandon_turn, count_listed, final_response, takeover_by


class LossySegments(Segments):
    """Redis fences the log, and its reply is lost."""

    lost = 1

    async def fence(self, *arguments: object) -> bool:
        fenced = await super().fence(*arguments)  # type: ignore[arg-type]
        if self.lost:
            self.lost -= 1
            raise Unavailable("redis")
        return fenced


async def failed_response(successor: Replica, response_id: str) -> Wire:
    """Of the terminal event."""
    running = successor.registry.find("user_1", response_id)
    assert running is not None
    last: Wire = (await collect_events(running))[-1]
    assert last["type"] == "response.failed"
    response: Wire = last["response"]
    return response


async def test_the_answer_continues_after_the_last_stored_event(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        response = await final_response(successor, response_id)
        await successor.registry.finish(5)
    assert response["output"][0]["content"][0]["text"] == TEXT
    assert successor.engine.continued_ids == [(ord("a"),)]
    assert (await successor.responses.get("user_1", response_id)).owner == "g2"
    assert (await count_listed(redis, "g1"), await count_listed(redis, "g2")) == (0, 0)


async def test_a_conversation_whose_first_answer_was_taken_over_gets_its_title(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    conversation_id = (await Conversations(redis).create("user_1", {})).id
    owner.engine.hold = asyncio.Event()
    running = await owner.begin_turn(ResponseCreate(input="go", conversation=conversation_id))
    while len(running.log.events) < 5:
        await asyncio.sleep(0.005)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        await final_response(successor, running.request.response_id)
        await successor.registry.finish(5)
    assert successor.titles.scheduled == [("user_1", conversation_id, "go", TEXT)]


async def test_an_owner_that_resumes_after_a_pause_adds_no_events(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        assert owner.engine.hold is not None
        owner.engine.hold.set()
        response = await final_response(successor, response_id)
        await owner.registry.finish(5)
        assert running is not None
        assert (running.log.is_fenced_off, running.log.events.is_complete) == (True, False)
    assert (await successor.responses.get("user_1", response_id)).response.output[0].id == response["output"][0]["id"]


async def test_only_one_of_two_gateways_takes_a_turn_over(
    owner: Replica, successor: Replica, redis: Redis, port: int
) -> None:
    response_id = await abandon_turn(owner)
    async with (
        replica(port, FakeEngine(*text_stream(TEXT)), name="g3") as third,
        takeover_by(successor, redis) as second_takeover,
        takeover_by(third, redis, name="g3") as third_takeover,
    ):
        await asyncio.gather(second_takeover.take_over_all("g1"), third_takeover.take_over_all("g1"))
        owners = [one for one in (successor, third) if one.registry.find("user_1", response_id)]
        assert len(owners) == 1
        assert (await final_response(owners[0], response_id))["status"] == "completed"


async def test_a_fence_whose_acknowledgement_was_lost_still_belongs_to_this_gateway(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    response_id = await abandon_turn(owner)
    async with takeover_by(successor, redis, LossySegments) as takeover:
        await takeover.take_over_all("g1")
        assert await count_listed(redis, "g1") == 1
        await takeover.take_over_all("g1")
        assert (await final_response(successor, response_id))["output"][0]["content"][0]["text"] == TEXT


async def test_a_turn_without_events_starts_from_the_beginning(successor: Replica, redis: Redis, port: int) -> None:
    async with replica(port, FakeEngine(*text_stream(TEXT)), name="g1") as first:
        answer = await first.turns.start("user_1", ResponseCreate(input="go"))
        assert answer.running is not None
        answer.running.log.fence_off()  # its gateway stopped before the first event
        async with takeover_by(successor, redis) as takeover:
            await takeover.take_over_all("g1")
            response = await final_response(successor, answer.response_id)
    assert response["output"][0]["content"][0]["text"] == TEXT


async def test_an_ended_turn_is_only_removed_from_the_list(owner: Replica, successor: Replica, redis: Redis) -> None:
    running = await owner.begin_turn(ResponseCreate(input="go"))
    await collect_events(running)
    await owner.registry.finish(5)
    await Leases(redis, "g1").add_turn("user_1", running.request.response_id)
    await Leases(redis, "g1").add_turn("user_1", "resp_that_never_was")
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        assert await count_listed(redis, "g1") == 1, "an unknown turn may still be accepted"
        takeover.accepting_seconds = 0
        await takeover.take_over_all("g1")
    assert await count_listed(redis, "g1") == 0
    assert successor.engine.prompt_calls == []


async def test_followers_of_the_first_owner_receive_the_rest(owner: Replica, successor: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)

    async def follow(gateway: Replica) -> Sequence[Wire]:
        return [json.loads(text) async for text in gateway.following.follow("user_1", response_id)]

    following = [asyncio.create_task(follow(one)) for one in (owner, successor)]
    await asyncio.sleep(0)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        assert owner.engine.hold is not None
        owner.engine.hold.set()  # it resumes and finds that it has lost the turn
        first, second = await asyncio.gather(*following)
        await successor.registry.finish(5)
    assert first == second
    assert conformance.stream(list(first))["status"] == "completed"
    assert "".join(one.get("delta", "") for one in first) == TEXT


async def test_an_answer_that_ends_just_before_the_fence_has_one_terminal_event(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    """The owner was only slow: it ends the turn while its log is being read."""
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    assert running is not None

    class LateSegments(Segments):
        async def fence(self, *arguments: object) -> bool:
            assert owner.engine.hold is not None
            owner.engine.hold.set()
            await owner.registry.finish(5)
            return await super().fence(*arguments)  # type: ignore[arg-type]

    async with takeover_by(successor, redis, LateSegments) as takeover:
        await takeover.take_over_all("g1")
        await successor.registry.finish(5)
    final_response = conformance.stream(await collect_events(running))
    assert final_response["output"][0]["content"][0]["text"] == TEXT
    assert successor.registry.find("user_1", response_id) is None
    assert await redis.xlen(f"parley:{{user_1}}:response:{response_id}:log:1") == 0
    assert await count_listed(redis, "g2") == 0


async def test_an_interrupted_takeover_stays_listed_when_another_gateway_sweeps(
    owner: Replica, successor: Replica, redis: Redis, port: int
) -> None:
    response_id = await abandon_turn(owner)
    async with (
        replica(port, FakeEngine(*text_stream(TEXT)), name="g3") as third,
        takeover_by(successor, redis, LossySegments) as takeover,
        takeover_by(third, redis, name="g3") as third_takeover,
    ):
        await takeover.take_over_all("g1")
        await third_takeover.take_over_all("g1")
        assert third.registry.find("user_1", response_id) is None
        await takeover.take_over_all("g1")
        assert (await final_response(successor, response_id))["output"][0]["content"][0]["text"] == TEXT
        await third_takeover.take_over_all("g1")
    assert await count_listed(redis, "g1") == 0


async def test_an_idle_owner_learns_that_it_lost_the_turn(owner: Replica, successor: Replica, redis: Redis) -> None:
    response_id = await abandon_turn(owner)
    running = owner.registry.find("user_1", response_id)
    assert running is not None
    async with takeover_by(successor, redis) as takeover, takeover_by(owner, redis, name="g1") as owner_takeover:
        await owner_takeover.abandon_lost_turns()
        lost_before = running.log.is_fenced_off
        await takeover.take_over_all("g1")
        await owner_takeover.abandon_lost_turns()
        assert (lost_before, running.log.is_fenced_off) == (False, True)
        seen = [json.loads(text) async for text in owner.following.follow("user_1", response_id)]
    assert conformance.stream(seen)["output"][0]["content"][0]["text"] == TEXT


async def test_an_answer_that_cannot_continue_ends_with_the_output_shown(
    successor: Replica, redis: Redis, port: int
) -> None:
    """Token ids continue as plain text, which would be wrong inside reasoning."""
    reasoning_engine = FakeEngine(PromptTokens((1, 2, 3)), ReasoningTextDelta("hm", (7,)), *text_stream(TEXT)[1:])
    async with replica(port, reasoning_engine, name="g1") as first:
        response_id = await abandon_turn(first)
        async with takeover_by(successor, redis) as takeover:
            await takeover.take_over_all("g1")
            response = await failed_response(successor, response_id)
    assert response["error"]["code"] == AnswerInterrupted.code
    assert response["output"][0]["content"][0]["text"] == "hm"


async def test_a_turn_whose_input_cannot_be_read_ends_with_the_output_shown(
    owner: Replica, successor: Replica, redis: Redis
) -> None:
    """As when it was encrypted under a key that was changed since."""

    class Unreadable(TurnPreparation):
        async def restore(self, *arguments: object) -> PreparedTurn:
            raise InvalidRequest("it was encrypted for another user")

    successor.preparation.__class__ = Unreadable
    response_id = await abandon_turn(owner)
    async with takeover_by(successor, redis) as takeover:
        await takeover.take_over_all("g1")
        response = await failed_response(successor, response_id)
    assert response["output"][0]["content"][0]["text"] == "a"
    assert await count_listed(redis, "g1") == 0


async def test_a_turn_that_a_bug_keeps_from_takeover_stays_listed_and_is_logged_once(
    owner: Replica, successor: Replica, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    response_id = await abandon_turn(owner)
    await redis.hset(f"parley:{{user_1}}:response:{response_id}", "request", "{}")
    async with takeover_by(successor, redis) as takeover:
        for _ in range(3):
            await takeover.take_over_all("g1")
    assert await count_listed(redis, "g1") == 1
    assert [one.getMessage() for one in caplog.records].count("a turn could not be taken over") == 1
