"""Owners, takers and readers of one log, in any order, and Redis' answers lost: it stays one answer."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from dev.process import Process
from gateway.inference import TextDelta
from gateway.protocol.events import decode_event
from gateway.protocol.ids import new_response_id
from gateway.store.turn_log.fencing import Segments
from gateway.store.turn_log.reader import BLOCK_SECONDS, Reader
from gateway.store.turn_log.writer import Writer
from gateway.turn.log_entry import decode_frame
from gateway.turn.state_machine import Completed, Created
from tests.gateway.builders import background_task, connection, turn

T = TypeVar("T")

USER = "user_1"


class ForgetfulWriter(Writer):
    """Redis has done what it asked, and it does not hear so."""

    forgets = False

    async def _add(self, batch: Any) -> Any:
        answers = await super()._add(batch)
        if self.forgets:
            self.forgets = False
            raise RedisConnectionError
        return answers


class Gateway:
    """It has, or believes to have, the turn; what it says waits until it is allowed to write."""

    def __init__(self, redis: Redis, response_id: str, segment: int = 0, told: tuple[str, ...] = ()) -> None:
        self.writer = ForgetfulWriter(redis, retention_seconds=60)
        known = turn(response_id=response_id)
        for frame in told:
            known.replay(decode_event(frame))
        self.log = self.writer.open(known, segment=segment, frames=told)
        self.waits = False
        if not told:
            self.say(Created())

    def say(self, step: Any) -> None:
        if not self.log.is_fenced_off:
            self.log.append(step)
            self.waits = True

    async def write(self) -> None:
        if self.waits:
            async with background_task(self.writer.run()):
                await self.log.wait_flushed()
            self.waits = False

    async def end(self) -> None:
        self.log.append_entries(self.log.finish(Completed(None, 1)))
        self.waits = True
        await self.write()

    async def shown(self) -> list[str]:
        """What its own followers have seen."""
        frames = self.log.events.follow()
        return [await anext(frames) for _ in range(len(self.log.events))]


class Histories(RuleBasedStateMachine):
    port: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.Runner()
        self._response_id = new_response_id()
        self._followers: list[tuple[int, asyncio.Task[list[str]]]] = []
        self._run(self._open())

    async def _open(self) -> None:
        self._redis, self._blocking = connection(self.port), connection(self.port, BLOCK_SECONDS + 2)
        self._segments = Segments(self._redis)
        self._reader = Reader(self._redis, self._blocking, "g9")
        self._reading = asyncio.create_task(self._reader.run(lambda _: None))
        self._gateways = [Gateway(self._redis, self._response_id)]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    def _gateway(self, number: int) -> Gateway:
        return self._gateways[number % len(self._gateways)]

    @rule(number=st.integers(0, 9), text=st.text("ab 你👋", min_size=1, max_size=3), ids=st.lists(st.integers(0, 9)))
    def say(self, number: int, text: str, ids: list[int]) -> None:
        self._gateway(number).say(TextDelta(text, tuple(ids)))

    @rule(number=st.integers(0, 9), forgets=st.booleans())
    def write(self, number: int, forgets: bool) -> None:
        gateway = self._gateway(number)
        gateway.writer.forgets = forgets
        self._run(gateway.write())

    @rule(takers=st.integers(1, 3), owner_writes=st.booleans())
    def take_over(self, takers: int, owner_writes: bool) -> None:
        self._run(self._taken_over(takers, owner_writes))

    async def _taken_over(self, takers: int, owner_writes: bool) -> None:
        """Of all who found it abandoned one gets it, and whatever its owner still wrote meanwhile is not lost."""
        found = [await self._segments.read(USER, self._response_id) for _ in range(takers)]
        if owner_writes:
            await self._gateways[-1].write()
        seal = self._segments.fence
        won = await asyncio.gather(
            *(seal(USER, self._response_id, told.segment, f"g{n}") for n, told in enumerate(found))
        )
        assert sum(won) == 1
        told = await self._segments.read(USER, self._response_id)
        frames = tuple(decode_frame(*entry) for entry in told.entries)
        self._gateways.append(Gateway(self._redis, self._response_id, told.segment, frames))

    @precondition(lambda self: len(self._followers) < 4)
    @rule(starting_after=st.integers(-1, 6))
    def follow(self, starting_after: int) -> None:
        async def follow() -> None:
            self._followers.append((starting_after, asyncio.create_task(self._followed(starting_after))))

        self._run(follow())

    async def _followed(self, starting_after: int) -> list[str]:
        async with self._reader.events(USER, self._response_id) as frames:
            return [text async for text in frames.follow(starting_after)]

    @invariant()
    def numbers_have_no_gap_and_are_there_once(self) -> None:
        self._run(self._sound())

    async def _sound(self) -> list[str]:
        told = await self._segments.read(USER, self._response_id)
        assert [entry_id for entry_id, _ in told.entries] == [b"%d-0" % (n + 1) for n in range(len(told.entries))]
        frames = [decode_frame(*entry) for entry in told.entries]
        for gateway in self._gateways:
            shown = await gateway.shown()
            assert shown == frames[: len(shown)], "somebody has seen what is not in the log"
        return frames

    def teardown(self) -> None:
        self._run(self._ended())
        self._loop.close()

    async def _ended(self) -> None:
        """The last owner ends it; all earlier ones wake up and find that they have nothing to say any more."""
        try:
            async with asyncio.timeout(30):
                await self._gateways[-1].end()
                for earlier in self._gateways[:-1]:
                    await earlier.write()
                frames = await self._sound()
                for starting_after, follower in self._followers:
                    assert await follower == frames[starting_after + 1 :]
        finally:
            self._reading.cancel()
            await asyncio.wait([self._reading], timeout=1)
            await self._redis.aclose()
            await self._blocking.aclose()
        events = [json.loads(frame) for frame in frames]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        (completed,) = (event["response"] for event in events if event["type"] == "response.completed")
        said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        assert said == "".join(item["content"][0]["text"] for item in completed["output"])


def test_the_log_is_one_answer_in_any_order_of_actions(redis_process: Process) -> None:
    class Here(Histories):
        port = redis_process.command.port

    run_state_machine_as_test(Here, settings=settings(max_examples=40, stateful_step_count=25, deadline=None))
