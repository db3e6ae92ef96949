"""A whole turn over a real Redis (`running` and `generation_loop`): what the engine streams, followers receive and
history holds."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.errors import ContextLengthExceeded, EngineCrashed, EngineFailed, Unavailable
from gateway.inference import (
    EngineEvent,
    Finished,
    PromptMessage,
    PromptTokens,
    ReasoningTextDelta,
    TextDelta,
    TokenizedPrompt,
    ToolCallDelta,
)
from gateway.protocol.create import ResponseCreate
from gateway.protocol.items import Item
from gateway.protocol.resources import Usage
from gateway.protocol.tools import FunctionTool
from gateway.runtime.retry_policy import RetryPolicy
from gateway.runtime.stream_consumer import MAX_ANSWER_BYTES
from gateway.store.history.conversations import Conversations
from gateway.store.history.turn_store import TurnStore
from gateway.store.keys import response_key
from gateway.turn.commands import CancelTurn
from gateway.turn.log_entry import decode_frame
from gateway.turn.records import CommitRecord, CommitResult
from tests.contract import conformance
from tests.gateway.builders import Wire, keys_of
from tests.gateway.replica import PROMPT_IDS, FakeEngine, Replica, collect_events, replica, text_stream

CALLING = (
    PromptTokens(PROMPT_IDS),
    ReasoningTextDelta("hm", (1,)),
    ToolCallDelta(0, "", "add", (2,)),
    ToolCallDelta(0, "{}", None, (3,)),
)
TOOLS = (FunctionTool("add"),)


async def stored_items(gateway: Replica, conversation_id: str) -> list[Item]:
    page = await Conversations(gateway.redis).items.page("user_1", conversation_id, limit=100, after=None, order="asc")
    return list(page.data)


async def stored_texts(gateway: Replica, conversation_id: str) -> list[tuple[str, str]]:
    return [
        (getattr(item, "text", ""), getattr(item, "status", ""))
        for item in await stored_items(gateway, conversation_id)
    ]


async def test_a_complete_answer_conforms_and_is_stored(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("你好"))) as gateway:
        conversation_id = await gateway.create_conversation()
        response = conformance.stream(
            await gateway.run_turn(ResponseCreate(input="hello", conversation=conversation_id))
        )
        assert response["conversation"] == {"id": conversation_id}
        assert response["usage"]["output_tokens"] == 2
        assert await stored_texts(gateway, conversation_id) == [("hello", "completed"), ("你好", "completed")]
        stored = (await gateway.following.get("user_1", response["id"])).response
        assert (stored.status, [item.id for item in stored.output]) == ("completed", [response["output"][0]["id"]])


async def test_a_function_call_and_its_reasoning_are_stored(port: int) -> None:
    async with replica(port, FakeEngine(*CALLING, Finished("stop"))) as gateway:
        conversation_id = await gateway.create_conversation()
        create = ResponseCreate(input="1+1?", conversation=conversation_id, tools=TOOLS)
        response = (await gateway.run_turn(create))[-1]["response"]
        stored = await stored_items(gateway, conversation_id)
        assert [item["type"] for item in response["output"]] == ["reasoning", "function_call"]
        assert [item.id for item in stored[1:]] == [item["id"] for item in response["output"]]


async def test_the_answer_is_in_history_before_the_terminal_event(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("whole"))) as gateway:
        conversation_id = await gateway.create_conversation()
        running = await gateway.begin_turn(ResponseCreate(input="hello", conversation=conversation_id))
        async for text in running.log.events.follow():
            last, in_history = json.loads(text)["type"], await stored_texts(gateway, conversation_id)
        assert last == "response.completed"
        assert in_history == [("hello", "completed"), ("whole", "completed")]


async def test_another_replica_reads_the_same_frames_from_the_log(redis: Redis, port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("the same"))) as gateway:
        running = await gateway.begin_turn(ResponseCreate(input="hello"))
        frames = [text async for text in running.log.events.follow()]
        stored: Any = await redis.xrange(keys_of(running.log)[0])
        assert [decode_frame(*entry) for entry in stored] == frames


async def test_an_unstored_turn_touches_no_key(redis: Redis, port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("secret"))) as gateway, redis.monitor() as monitor:
        response = conformance.stream(await gateway.run_turn(ResponseCreate(input="hush", store=False)))
        await gateway.reader.send_command("g1", CancelTurn("last", 0))
        commands = []
        async for command in monitor.listen():
            commands.append(command["command"])
            if "last" in commands[-1]:
                break
    assert response["store"] is False
    assert [
        one for one in commands if not one.startswith(("XREAD", "XADD parley:gateway:g1:control", "CLIENT", "HELLO"))
    ] == []
    assert [key for key in await redis.keys() if b":control" not in key] == []


async def test_parameters_reach_the_engine(port: int) -> None:
    async with replica(port) as gateway:
        fields = {"instructions": "be brief", "temperature": 0.0, "top_p": 0.5, "max_output_tokens": 7, "tools": TOOLS}
        await gateway.run_turn(ResponseCreate(input="x", **fields))  # type: ignore[arg-type]
        call = gateway.engine.prompt_calls[-1]
        assert call.prompt == (PromptMessage("system", "be brief"), PromptMessage("user", "x"))
        assert (call.sampling.temperature, call.sampling.top_p, call.sampling.max_output_tokens) == (0.0, 0.5, 7)
        assert call.options.tools == TOOLS


async def test_an_answer_that_ran_out_of_tokens_is_incomplete(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("abc", "length"))) as gateway:
        response = conformance.stream(await gateway.run_turn(ResponseCreate(input="go")))
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert response["usage"]["output_tokens"] == 3
        assert response["output"][0]["status"] == "incomplete"


async def test_a_warm_up_reads_the_prompt_and_has_no_output(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("x", "length"))) as gateway:
        response = conformance.stream(await gateway.run_turn(ResponseCreate(input="go", generate=False)))
        assert (response["status"], response["output"]) == ("completed", [])
        assert gateway.engine.prompt_calls[-1].sampling.max_output_tokens == 1
        following = ResponseCreate(input="now", previous_response_id=response["id"])
        await gateway.run_turn(following)
        assert gateway.engine.prompt_texts == ["be kind", "go\n\nnow"]


async def test_stopping_closes_the_engines_stream_and_keeps_the_text(port: int) -> None:
    engine = FakeEngine(*text_stream("half an answer"))
    engine.hold = asyncio.Event()
    async with replica(port, engine) as gateway:
        conversation_id = await gateway.create_conversation()
        running = await gateway.begin_turn(ResponseCreate(input="go", conversation=conversation_id))
        async for text in running.log.events.follow():
            if json.loads(text)["type"] == "response.output_text.delta":
                running.stop()
                running.stop()
                break
        response = conformance.stream(await collect_events(running))
        assert engine.closed.is_set()
        assert response["status"] == "incomplete"
        assert response["incomplete_details"]["reason"] == "cancelled"
        assert response["usage"]["output_tokens"] == 1
        assert await stored_texts(gateway, conversation_id) == [("go", "completed"), ("h", "incomplete")]
        assert gateway.usage.added == [("user_1", Usage(3, 1, 4))]


async def test_an_unstored_turn_stops_when_its_only_reader_leaves(port: int) -> None:
    async with replica(port) as gateway:
        unstored = await gateway.begin_turn(ResponseCreate(input="go", store=False))
        unstored.stop_unless_stored()
        stored = await gateway.begin_turn(ResponseCreate(input="go"))
        stored.stop_unless_stored()
        assert conformance.stream(await collect_events(unstored))["status"] == "incomplete"
        assert conformance.stream(await collect_events(stored))["status"] == "completed"


async def test_a_turn_stopped_before_it_starts_has_one_terminal_event_too(port: int) -> None:
    async with replica(port) as gateway:
        running = await gateway.begin_turn(ResponseCreate(input="go"))
        running.stop()
        response = conformance.stream(await collect_events(running))
        assert (response["status"], response["output"][0]["content"][0]["text"]) == ("incomplete", "")


@pytest.mark.parametrize(
    ("fault", "code"), [(EngineFailed("x"), "model_error"), (ZeroDivisionError("Zero"), "server_error")]
)
async def test_a_failure_ends_the_turn_with_its_code_and_stores_the_output_shown(
    port: int, fault: Exception, code: str
) -> None:
    async with replica(port, FakeEngine(*text_stream("shown"), faults=[fault])) as gateway:
        conversation_id = await gateway.create_conversation()
        *_, error, failed = await gateway.run_turn(ResponseCreate(input="go", conversation=conversation_id))
        assert (error["type"], failed["type"]) == ("error", "response.failed")
        assert failed["response"]["error"]["code"] == code
        assert "Zero" not in failed["response"]["error"]["message"]
        assert await stored_texts(gateway, conversation_id) == [("go", "completed"), ("shown", "incomplete")]
        assert (await gateway.run_turn(ResponseCreate(input="again", conversation=conversation_id)))[-1]["type"] == (
            "response.completed"
        )


async def test_a_crash_of_the_engine_is_retried(port: int) -> None:
    crashes = [EngineCrashed("500"), EngineCrashed("500"), Unavailable("vllm")]
    async with replica(port, FakeEngine(*cut_after(text_stream("a lighthouse"), 3), faults=crashes)) as gateway:
        response = conformance.stream(await gateway.run_turn(ResponseCreate(input="go")))
        assert response["output"][0]["content"][0]["text"] == "a lighthouse"


async def test_a_request_that_crashes_the_engine_repeatedly_is_given_up(port: int) -> None:
    crashes = [EngineCrashed("the model server answered 500")] * 50
    async with replica(port, FakeEngine(Finished("stop"), faults=crashes), policy=RetryPolicy(600, 5)) as gateway:
        *_, error, failed = await gateway.run_turn(ResponseCreate(input="go"))
        assert failed["response"]["error"]["code"] == EngineCrashed.code
        assert "500" in error["error"]["message"]
        assert len(gateway.engine.prompt_calls) == 6


async def test_a_bug_before_the_first_token_ends_only_its_turn(port: int) -> None:
    class BuggyEngine(FakeEngine):
        async def tokenize(self, *_: object, **__: object) -> TokenizedPrompt | None:
            raise ZeroDivisionError

    async with replica(port, BuggyEngine()) as gateway:
        failed = (await gateway.run_turn(ResponseCreate(input="x" * 9000)))[-1]
        assert failed["response"]["error"]["code"] == "server_error"
        assert (await gateway.run_turn(ResponseCreate(input="short")))[-1]["type"] == "response.completed"


async def test_a_prompt_within_the_bound_is_counted_when_the_engine_refuses_it(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("fine"), faults=[ContextLengthExceeded()])) as gateway:
        gateway.engine.events = (Finished("stop"), *text_stream("fine"))
        response = conformance.stream(await gateway.run_turn(ResponseCreate(input="go")))
        assert response["status"] == "completed"
        assert (len(gateway.engine.prompt_calls), gateway.engine.tokenize_calls) == (2, 1)


async def test_a_counted_prompt_that_the_engine_refuses_is_not_retried(port: int) -> None:
    async with replica(port, FakeEngine(Finished("stop"), faults=[ContextLengthExceeded()] * 2)) as gateway:
        failed = (await gateway.run_turn(ResponseCreate(input="x" * 3500)))[-1]
        assert failed["response"]["error"]["code"] == "context_length_exceeded"
        assert len(gateway.engine.prompt_calls) == 1


class FailingStore(TurnStore):
    """The first attempt to commit an answer fails."""

    fault: Exception = Unavailable("redis")
    failures = 1

    async def commit(self, record: CommitRecord) -> CommitResult:
        if self.failures:
            self.failures -= 1
            raise self.fault
        return await super().commit(record)


class BuggyStore(FailingStore):
    fault = ZeroDivisionError()


async def test_an_answer_is_stored_after_a_redis_outage(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("stored")), store=FailingStore) as gateway:
        conversation_id = await gateway.create_conversation()
        assert conformance.stream(await gateway.run_turn(ResponseCreate(input="go", conversation=conversation_id)))
        assert (await stored_texts(gateway, conversation_id))[1] == ("stored", "completed")


async def test_a_turn_ends_after_an_unexpected_error_in_the_store(port: int) -> None:
    async with replica(port, store=BuggyStore) as gateway:
        assert (await gateway.run_turn(ResponseCreate(input="go")))[-1]["response"]["id"]


class OvertakenStore(TurnStore):
    """Another gateway takes the turn over while this one commits its answer."""

    async def commit(self, record: CommitRecord) -> CommitResult:
        await self._redis.hset(response_key(record.user_id, record.response.id), "owner", "g2")
        return await super().commit(record)


async def test_a_turn_taken_over_during_its_commit_is_neither_stored_nor_ended_here(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("mine")), store=OvertakenStore) as gateway:
        conversation_id = await gateway.create_conversation()
        running = await gateway.begin_turn(ResponseCreate(input="go", conversation=conversation_id))
        await gateway.registry.finish(5)
        assert (running.log.events.is_closed, running.log.events.is_complete) == (True, False)
        assert await stored_texts(gateway, conversation_id) == [("go", "completed")]
        assert not (await gateway.responses.get("user_1", running.request.response_id)).has_ended


async def test_after_an_engine_dies_the_answer_continues_from_its_token_ids(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("a lighthouse"), faults=[Unavailable("vllm")])) as gateway:
        gateway.engine.events = cut_after(text_stream("a lighthouse"), 6)
        response = conformance.stream(await gateway.run_turn(ResponseCreate(input="go")))
        assert response["output"][0]["content"][0]["text"] == "a lighthouse"
        assert gateway.engine.continued_ids == [tuple(map(ord, "a ligh"))]
        assert response["usage"]["output_tokens"] == len("a lighthouse")


async def test_leading_white_space_is_not_doubled_when_the_engine_dies_after_it(port: int) -> None:
    events = text_stream("\n\nHi")
    async with replica(port, FakeEngine(*cut_after(events, 2), faults=[Unavailable("vllm")])) as gateway:
        response = conformance.stream(await gateway.run_turn(ResponseCreate(input="go")))
        assert response["output"][0]["content"][0]["text"] == "\n\nHi"
        assert len(gateway.engine.prompt_calls) == 2


def cut_after(events: Sequence[EngineEvent], letters: int) -> tuple[EngineEvent, ...]:
    """The first stream ends in its fault after this many letters."""
    return (*events[: 1 + letters], Finished("stop"), *events[1 + letters :])


async def test_an_engine_that_stays_unavailable_ends_the_answer_with_the_output_shown(port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("half"), faults=[Unavailable("vllm")])) as gateway:
        gateway.engine.has_healthy = False
        *_, failed = await gateway.run_turn(ResponseCreate(input="go"))
        assert failed["response"]["error"]["code"] == "service_unavailable"
        assert failed["response"]["output"][0]["content"][0]["text"] == "half"


async def test_an_incomplete_function_call_cannot_be_continued(port: int) -> None:
    async with replica(port, FakeEngine(*CALLING, Finished("stop"), faults=[Unavailable("vllm")])) as gateway:
        *_, failed = await gateway.run_turn(ResponseCreate(input="go", tools=TOOLS))
        assert failed["response"]["error"]["code"] == "answer_interrupted"
        assert gateway.engine.continued_ids == []


async def run_to_end(gateway: Replica, **fields: Any) -> list[Wire]:
    events = await gateway.run_turn(ResponseCreate(**fields))
    await gateway.registry.finish(5)
    return events


async def test_usage_is_recorded_for_stored_and_unstored_turns(port: int) -> None:
    async with replica(port) as gateway:
        await run_to_end(gateway, input="hi")
        await run_to_end(gateway, input="hi", store=False)
        assert gateway.usage.added == [("user_1", Usage(9, 2, 11))] * 2


async def test_a_title_is_scheduled_from_the_first_question_until_there_is_one(port: int) -> None:
    async with replica(port) as gateway:
        conversation_id = await gateway.create_conversation()
        await run_to_end(gateway, input="hello", conversation=conversation_id)
        await run_to_end(gateway, input="again", conversation=conversation_id)
        await run_to_end(gateway, input="no conversation")
        titled = (await Conversations(gateway.redis).create("user_1", {"title": "mine"})).id
        await run_to_end(gateway, input="hello", conversation=titled)
        assert gateway.titles.scheduled == [("user_1", conversation_id, "hello", "ok")] * 2


async def test_a_title_is_scheduled_for_a_failed_first_answer_too(port: int) -> None:
    async with replica(port, FakeEngine(TextDelta("x"), Finished("stop"), faults=[EngineFailed("x")])) as gateway:
        conversation_id = await gateway.create_conversation()
        await run_to_end(gateway, input="hello", conversation=conversation_id)
        assert gateway.titles.scheduled == [("user_1", conversation_id, "hello", "x")]


async def test_an_endless_answer_ends_at_the_size_limit(port: int) -> None:
    endless = [TextDelta("x" * (MAX_ANSWER_BYTES // 4), (number,)) for number in range(8)]
    async with replica(port, FakeEngine(PromptTokens((1,)), *endless, Finished("stop"))) as gateway:
        response = (await gateway.run_turn(ResponseCreate(input="go")))[-1]["response"]
        assert response["incomplete_details"] == {"reason": "max_output_tokens"}
        assert len(response["output"][0]["content"][0]["text"]) <= MAX_ANSWER_BYTES * 5 // 4
        assert gateway.engine.closed.is_set()
