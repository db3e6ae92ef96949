"""Owners, successors and followers of one log in any order, with replies and the end of the log lost: it stays one
answer."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, ClassVar, TypeVar, TypeVarTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from dev.process import Process
from gateway.inference import TextDelta
from gateway.protocol.events import decode_event
from gateway.protocol.ids import new_response_id
from gateway.store.history.responses import ResponseStore
from gateway.store.keys import response_key, segment_key
from gateway.store.turn_log.fencing import Segments
from gateway.store.turn_log.reader import BLOCK_SECONDS, Reader
from gateway.store.turn_log.writer import Writer
from gateway.turn.log_entry import FENCE_ID, decode_frame, decode_frames
from gateway.turn.records import NOTHING_REPLAYED, ReplayedEvents
from gateway.turn.state_machine import Completed, Created
from tests.gateway.builders import add_records, background_task, connection, log_repair, lose_newest, turn

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

USER = "user_1"


class FastLoop(asyncio.SelectorEventLoop):
    """Shortens the writer's pause after each lost reply."""

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_later(delay / 100, callback, *args, context=context)


class LossyWriter(Writer):
    """Redis has added the entries, and its reply is lost."""

    loses_reply = False

    async def _append(self, batch: Any) -> Any:
        answers = await super()._append(batch)
        if self.loses_reply:
            self.loses_reply = False
            raise RedisConnectionError
        return answers


class Gateway:
    """It owns the turn, or believes so; its events wait until `write`."""

    def __init__(self, redis: Redis, response_id: str, replayed: ReplayedEvents = NOTHING_REPLAYED) -> None:
        self.writer = LossyWriter(redis, log_repair(redis, replayed.owner or "g1"), retention_seconds=60)
        machine = turn(response_id=response_id)
        for frame in decode_frames(replayed.entries):
            machine.replay(decode_event(frame))
        self.log = self.writer.open(machine, replayed)
        self.has_pending = False
        if not replayed.entries:
            self.append(Created())

    def append(self, step: Any) -> None:
        if not self.log.is_fenced_off:
            self.log.append(step)
            self.has_pending = True

    async def write(self) -> None:
        if self.has_pending:
            async with background_task(self.writer.run()):
                await self.log.wait_flushed()
            self.has_pending = False

    async def end(self) -> None:
        self.log.append_entries(self.log.finish(Completed(None, 1)))
        self.has_pending = True
        await self.write()

    async def shown(self) -> list[str]:
        """What its own followers have received."""
        frames = self.log.events.follow()
        return [await anext(frames) for _ in range(len(self.log.events))]


class Histories(RuleBasedStateMachine):
    port: ClassVar[int]

    def __init__(self) -> None:
        super().__init__()
        self._loop = asyncio.Runner(loop_factory=FastLoop)
        self._response_id = new_response_id()
        self._followers: list[tuple[int, asyncio.Task[list[str]]]] = []
        self._run(self._open())

    async def _open(self) -> None:
        self._redis, self._blocking = connection(self.port), connection(self.port, BLOCK_SECONDS + 2)
        self._segments, self._responses = Segments(self._redis), ResponseStore(self._redis)
        await add_records(self._redis, (USER, self._response_id))
        self._reader = Reader(self._redis, self._blocking, "g9")
        self._reading = asyncio.create_task(self._reader.run(lambda *_: None))
        self._gateways = [Gateway(self._redis, self._response_id)]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    def _gateway(self, number: int) -> Gateway:
        return self._gateways[number % len(self._gateways)]

    @rule(number=st.integers(0, 9), text=st.text("ab 你👋", min_size=1, max_size=3), ids=st.lists(st.integers(0, 9)))
    def append(self, number: int, text: str, ids: list[int]) -> None:
        self._gateway(number).append(TextDelta(text, tuple(ids)))

    @rule(number=st.integers(0, 9), loses_reply=st.booleans())
    def write(self, number: int, loses_reply: bool) -> None:
        gateway = self._gateway(number)
        gateway.writer.loses_reply = loses_reply
        self._run(gateway.write())

    @rule(rivals=st.integers(1, 3), owner_writes=st.booleans())
    def take_over(self, rivals: int, owner_writes: bool) -> None:
        self._run(self._take_over(rivals, owner_writes))

    async def _take_over(self, rivals: int, owner_writes: bool) -> None:
        """One of all gateways that found it abandoned gets it; what its owner has written since is not lost."""
        found = [await self._segments.read(USER, self._response_id) for _ in range(rivals)]
        if owner_writes:
            await self._gateways[-1].write()
        fence = self._segments.fence
        won = await asyncio.gather(
            *(
                fence(USER, self._response_id, replayed.segment, f"g{len(self._gateways) + 1}.{n}")
                for n, replayed in enumerate(found)
            )
        )
        assert sum(won) == 1
        replayed = await self._segments.read(USER, self._response_id)
        assert replayed.owner is not None
        await self._responses.claim(USER, self._response_id, replayed.owner, replayed.segment)
        self._gateways.append(Gateway(self._redis, self._response_id, replayed))

    @rule(count=st.integers(1, 6))
    def lose_the_end(self, count: int) -> None:
        self._run(self._lose_the_end(count))

    async def _lose_the_end(self, count: int) -> None:
        """In a failover, which closes all connections; the owner writes before anybody else does."""
        owner = self._gateways[-1]
        for _ in range(count):
            await self._lose_one(owner.log.segment)
        await self._redis.client_kill_filter(_type="normal", skipme=True)
        await self._redis.connection_pool.disconnect()
        owner.append(TextDelta("+", (0,)))
        await owner.write()

    async def _lose_one(self, last_segment: int) -> None:
        for segment in range(last_segment, -1, -1):
            lost = await lose_newest(self._redis, segment_key(USER, self._response_id, segment))
            if lost is not None:
                if lost == FENCE_ID.encode():
                    # The claim that followed it, too.
                    await self._redis.hset(response_key(USER, self._response_id), "segment", str(segment))
                return

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
    def sequence_numbers_have_no_gap(self) -> None:
        self._run(self._check_log())

    async def _check_log(self) -> list[str]:
        replayed = await self._segments.read(USER, self._response_id)
        assert [entry_id for entry_id, _ in replayed.entries] == [
            b"%d-0" % (n + 1) for n in range(len(replayed.entries))
        ]
        frames = [decode_frame(*entry) for entry in replayed.entries]
        for gateway in self._gateways:
            shown = await gateway.shown()
            assert shown == frames[: len(shown)], "a follower has received what is not in the log"
        return frames

    def teardown(self) -> None:
        self._run(self._end_and_check())
        self._loop.close()

    async def _end_and_check(self) -> None:
        """The last owner ends it; all earlier ones resume and find that they have lost it."""
        try:
            async with asyncio.timeout(30):
                await self._gateways[-1].end()
                for earlier in self._gateways[:-1]:
                    await earlier.write()
                frames = await self._check_log()
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
        text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        assert text == "".join(item["content"][0]["text"] for item in completed["output"])


def test_the_log_is_one_answer_in_any_order_of_actions(redis_process: Process) -> None:
    class HistoriesHere(Histories):
        port = redis_process.command.port

    run_state_machine_as_test(HistoriesHere, settings=settings(max_examples=40, stateful_step_count=25))
