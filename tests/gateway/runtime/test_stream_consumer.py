import asyncio
from collections.abc import AsyncGenerator

import pytest

from gateway.errors import EngineCrashed, ParleyError, Unavailable
from gateway.inference import EngineEvent, Finished, PromptTokens, ReasoningTextDelta, TextDelta, UsageReport
from gateway.protocol.events import Delta
from gateway.protocol.resources import Usage, WindowUse
from gateway.runtime.generation_state import GenerationState
from gateway.runtime.stream_consumer import MAX_ANSWER_BYTES, StreamConsumer
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry
from gateway.turn.state_machine import Created
from tests.gateway.builders import turn

LONG_SECONDS = 600.0


class Generation:
    """A consumer with the log and the state of its turn."""

    def __init__(self, *, shows_output: bool = True, token_seconds: float = LONG_SECONDS) -> None:
        self.log = TurnLog(turn(), lambda _: None)
        self.log.append(Created())
        self.log.append(WindowUse(0, None, None))
        self.state = GenerationState()
        self.closed_streams = 0
        self._consumer = StreamConsumer(self.log, self.state, shows_output=shows_output, token_seconds=token_seconds)

    async def consume(self, *events: EngineEvent, error: ParleyError | None = None, hangs: bool = False) -> str:
        """Consumes a stream of these events, which raises `error` or falls silent at its end."""
        return await self._consumer.consume(self._stream(events, error, hangs=hangs))

    async def _stream(
        self, events: tuple[EngineEvent, ...], error: ParleyError | None, *, hangs: bool
    ) -> AsyncGenerator[EngineEvent]:
        try:
            for event in events:
                yield event
            if hangs:
                await asyncio.Event().wait()
            if error is not None:
                raise error
        finally:
            self.closed_streams += 1

    def deltas(self) -> list[LogEntry]:
        return [entry for entry in self.log.drain() if isinstance(entry.event, Delta)]


async def test_deltas_go_into_the_log_and_their_token_ids_into_the_state() -> None:
    generation = Generation()
    await generation.consume(ReasoningTextDelta("hm", (1,)), TextDelta("yes", (2, 3)), Finished("stop"))
    shown = [(entry.event.delta, entry.token_ids) for entry in generation.deltas() if isinstance(entry.event, Delta)]
    assert shown == [("hm", (1,)), ("yes", (2, 3))]
    assert generation.state.token_ids == [1, 2, 3]


async def test_prompt_ids_and_usage_go_into_the_state_and_the_prompt_size_into_the_log() -> None:
    generation = Generation()
    usage = Usage(3, 1, 4)
    await generation.consume(PromptTokens((7, 8, 9)), TextDelta("a", (1,)), Finished("stop"), UsageReport(usage))
    assert (generation.state.prompt_ids, generation.state.reported) == ((7, 8, 9), usage)
    assert [entry.prompt_tokens for entry in generation.deltas()] == [3]


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_the_finish_reason_is_returned_and_logged(reason: str) -> None:
    generation = Generation()
    assert await generation.consume(TextDelta("a", (1,)), Finished(reason)) == reason  # type: ignore[arg-type]
    assert [entry.finish_reason for entry in generation.deltas()] == [reason]


async def test_a_stream_that_ends_without_a_finish_reason_has_stopped() -> None:
    assert await Generation().consume(TextDelta("a", (1,))) == "stop"


async def test_an_engine_that_disappears_raises_and_the_deltas_before_stay() -> None:
    generation = Generation()
    with pytest.raises(Unavailable):
        await generation.consume(TextDelta("a", (1,)), error=Unavailable("vllm"))
    assert (len(generation.deltas()), generation.state.token_ids, generation.closed_streams) == (1, [1], 1)


async def test_an_engine_that_crashes_raises_that() -> None:
    with pytest.raises(EngineCrashed):
        await Generation().consume(TextDelta("a", (1,)), error=EngineCrashed("500"))


@pytest.mark.parametrize("error", [Unavailable("vllm"), EngineCrashed("500")])
async def test_an_engine_that_fails_after_the_finish_reason_has_finished(error: ParleyError) -> None:
    assert await Generation().consume(Finished("length"), error=error) == "length"


async def test_an_engine_that_falls_silent_is_unavailable_and_its_stream_closed() -> None:
    generation = Generation(token_seconds=0.0)
    with pytest.raises(Unavailable):
        await generation.consume(TextDelta("a", (1,)), hangs=True)
    assert generation.closed_streams == 1


async def test_an_engine_that_falls_silent_after_the_finish_reason_has_finished() -> None:
    assert await Generation(token_seconds=0.0).consume(Finished("length"), hangs=True) == "length"


async def test_an_engine_that_reads_a_prompt_may_be_silent_for_longer() -> None:
    async def slow() -> AsyncGenerator[EngineEvent]:
        for _ in range(5):
            await asyncio.sleep(0)
        yield Finished("stop")

    state, log = GenerationState(), TurnLog(turn(), lambda _: None)
    consumer = StreamConsumer(log, state, shows_output=True, token_seconds=0.0)
    assert await consumer.consume(slow()) == "stop"


async def test_an_answer_beyond_the_size_limit_ends_there_and_its_stream_is_closed() -> None:
    generation = Generation()
    text = "x" * (MAX_ANSWER_BYTES // 2)
    at_limit = (TextDelta(text, (1,)), TextDelta(text, (2,)))
    assert await generation.consume(*at_limit, TextDelta("x", (3,)), TextDelta("y", (4,)), hangs=True) == "length"
    assert (generation.state.token_ids, generation.closed_streams) == ([1, 2, 3], 1)


async def test_the_size_limit_counts_bytes_of_all_completions_of_a_turn() -> None:
    generation = Generation()
    half = TextDelta("é" * (MAX_ANSWER_BYTES // 4), (1,))
    assert await generation.consume(half, Finished("stop")) == "stop"
    assert await generation.consume(half, TextDelta("x", (2,)), Finished("stop")) == "length"


async def test_a_warm_up_shows_nothing_and_counts_its_token_ids() -> None:
    generation = Generation(shows_output=False)
    assert await generation.consume(TextDelta("a", (1,)), Finished("length")) == "length"
    assert (generation.deltas(), generation.state.token_ids) == ([], [1])
