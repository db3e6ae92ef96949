"""Builders and strategies that several of these tests use."""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.inference import OutputDelta, OutputOptions, ReasoningTextDelta, Sampling, TextDelta, ToolCallDelta
from gateway.protocol.events import Event, frame
from gateway.store.history.responses import ResponseStore
from gateway.store.keys import response_key, segment_keys
from gateway.store.turn_log.fencing import Segments
from gateway.store.turn_log.repair import LogRepair
from gateway.store.turn_log.writer import Writer
from gateway.turn.log import TurnLog
from gateway.turn.state_machine import Turn
from gateway.turn.turn_request import TurnRequest

Wire = dict[str, Any]

SAMPLING = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=1000)

_TEXTS = st.text("ab \n你👋", max_size=4)
_IDS = st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple)
DELTAS = st.one_of(
    st.builds(TextDelta, _TEXTS, _IDS),
    st.builds(ReasoningTextDelta, _TEXTS, _IDS),
    st.builds(ToolCallDelta, st.integers(0, 3), _TEXTS, st.none() | st.just("f"), _IDS),
)
"""Also sequences that no engine generates."""

_MORE = st.lists(st.tuples(st.sampled_from([ToolCallDelta, TextDelta]), _TEXTS, _IDS), max_size=4)


@st.composite
def answer_deltas(draw: st.DrawFn) -> list[OutputDelta]:
    """Text, reasoning and calls in any order; a call may have several deltas, with white space between."""
    deltas: list[OutputDelta] = []
    for index in range(draw(st.integers(0, 6))):
        kinds = st.builds(TextDelta, _TEXTS, _IDS), st.builds(ReasoningTextDelta, _TEXTS, _IDS)
        deltas += draw(st.lists(draw(st.sampled_from(kinds)), max_size=3))
        if draw(st.booleans()):
            deltas.append(ToolCallDelta(index, draw(_TEXTS), "f", draw(_IDS)))
            for kind, text, ids in draw(_MORE):
                deltas.append(
                    ToolCallDelta(index, text, None, ids) if kind is ToolCallDelta else TextDelta(" " * len(text), ids)
                )
    return deltas


def turn(**more: Any) -> Turn:
    known: Wire = {"response_id": "resp_1", "user_id": "user_1", "model": "parley-demo", "thread_id": "thread_1"}
    return Turn(
        TurnRequest(sampling=SAMPLING, created_at=1_700_000_000, **({"options": OutputOptions()} | known | more))
    )


def log_repair(redis: Redis, name: str) -> LogRepair:
    return LogRepair(Segments(redis), ResponseStore(redis), name)


def log_writer(redis: Redis, name: str = "g1") -> Writer:
    """Of the gateway `name`."""
    return Writer(redis, log_repair(redis, name), retention_seconds=60)


async def add_records(redis: Redis, *turns: tuple[str, str]) -> None:
    """As of accepted turns, by user and response: no log begins without one."""
    for user_id, response_id in turns:
        await redis.hset(response_key(user_id, response_id), "owner", "g1")


async def lose_newest(redis: Redis, key: str) -> bytes | None:
    """Removes the last entry of a stream as if it had never been added, and returns its id."""
    newest: Any = await redis.xrevrange(key, count=2)
    if not newest:
        return None
    if len(newest) == 1:
        await redis.delete(key)
    else:
        await redis.xdel(key, newest[0][0])
        await redis.execute_command("XSETID", key, newest[1][0])  # type: ignore[no-untyped-call]
    return bytes(newest[0][0])


def keys_of(log: TurnLog) -> list[str]:
    """Of all its segments; the last one grows."""
    return segment_keys(log.turn.request.user_id, log.turn.request.response_id, log.segment)


def wires(events: Iterable[Event]) -> list[Wire]:
    return [json.loads(frame(event)) for event in events]


def connection(port: int, seconds: float = 2) -> Redis:
    """As the gateway opens its own: without hidden retries."""
    return Redis(port=port, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0))


async def stored_keys(redis: Redis) -> list[bytes]:
    """All keys but the counts of the storage quota."""
    keys: Any = await redis.keys()
    return [key for key in keys if not key.endswith(b":quota")]


@asynccontextmanager
async def background_task(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Runs a loop of the gateway in the background, and cancels it at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        while not task.done():  # Python 3.11 loses a cancellation that arrives while a command is being written
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
