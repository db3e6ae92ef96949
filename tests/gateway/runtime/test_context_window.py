"""Which part of a conversation is sent, with a real history and an engine that counts bytes."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.inference import TokenizedPrompt
from gateway.protocol.create import ResponseCreate
from gateway.protocol.input_items import InputMessage
from gateway.protocol.tools import FunctionTool
from gateway.runtime import history_loader
from gateway.runtime.context_window import ROOM_FOR_AN_ANSWER_TOKENS
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.turn.limits import RECENT_ITEMS
from gateway.turn.records import ThreadSnapshot
from tests.gateway.builders import Wire
from tests.gateway.replica import FakeEngine, Replica, replica, text_stream


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port) as found:
        yield found


@pytest.fixture
async def conversation_id(gateway: Replica) -> str:
    return (await Conversations(gateway.redis).create("user_1", {})).id


async def create_conversation(gateway: Replica, items: Sequence[InputMessage]) -> str:
    """Returns the id of a conversation with these items."""
    return (await Conversations(gateway.redis).create("user_1", {}, items=items)).id


async def respond(gateway: Replica, conversation_id: str, text: str = "hi", **more: Any) -> Wire:
    fields: Wire = {"truncation": "auto", "conversation": conversation_id, "max_output_tokens": 100}
    events = await gateway.run_turn(ResponseCreate(input=text, **(fields | more)))
    response: Wire = events[-1]["response"]
    return response


async def test_a_short_conversation_needs_no_count(gateway: Replica, conversation_id: str) -> None:
    for _ in range(5):
        assert (await respond(gateway, conversation_id))["status"] == "completed"
    assert gateway.engine.tokenize_calls == 0
    assert gateway.engine.prompt_texts == ["be kind", *["hi", "ok"] * 4, "hi"]


async def test_the_last_usage_proves_that_a_prompt_fits_where_its_bytes_do_not(
    gateway: Replica, conversation_id: str
) -> None:
    gateway.engine.context_tokens = 700
    for _ in range(8):
        await respond(gateway, conversation_id)
    lengths = [len(call.prompt) for call in gateway.engine.prompt_calls]
    assert lengths == [2 + 2 * number for number in range(8)]
    assert gateway.engine.tokenize_calls < 8


async def test_a_long_message_is_counted(gateway: Replica, conversation_id: str) -> None:
    response = await respond(gateway, conversation_id, "x" * 4000)
    assert gateway.engine.tokenize_calls == 1
    assert response["window"]["context_tokens"] == 4096


async def test_a_prompt_with_another_digest_is_counted_again(gateway: Replica, conversation_id: str) -> None:
    gateway.engine.context_tokens = 300
    await respond(gateway, conversation_id)
    await respond(gateway, conversation_id)
    counted = gateway.engine.tokenize_calls
    await respond(gateway, conversation_id, tools=(FunctionTool("add", "x" * 100),))
    assert gateway.engine.tokenize_calls == counted + 1


async def test_the_oldest_exchanges_are_left_out_and_the_response_has_the_number_of_items(
    gateway: Replica, conversation_id: str
) -> None:
    gateway.engine.context_tokens = 1000
    for number in range(4):
        response = await respond(gateway, conversation_id, f"{number}" * 240, max_output_tokens=256)
    assert [text[:1] for text in gateway.engine.prompt_texts] == ["b", "1", "o", "2", "o", "3"]
    tokens = len("be kind") + 3 * 240 + 2 * 2
    assert response["window"] == {"items_left_out": 2, "input_tokens": tokens, "context_tokens": 1000}


async def test_without_truncation_a_too_long_conversation_is_refused_with_both_numbers(
    gateway: Replica, conversation_id: str
) -> None:
    gateway.engine.context_tokens = 500
    await respond(gateway, conversation_id, "x" * 300)
    response = await respond(gateway, conversation_id, "x" * 300, truncation="disabled")
    assert response["error"]["code"] == "context_length_exceeded"
    assert "500" in response["error"]["message"]
    assert str(len("be kind") + 300 + 2 + 300) in response["error"]["message"]
    assert (await respond(gateway, conversation_id, "x" * 300))["status"] == "completed"


async def test_the_answer_is_bounded_by_the_remaining_context(gateway: Replica, conversation_id: str) -> None:
    gateway.engine.context_tokens = 1000
    await respond(gateway, conversation_id, "x" * 600, max_output_tokens=900)
    assert gateway.engine.prompt_calls[-1].sampling.max_output_tokens == 1000 - 600 - len("be kind")
    await respond(gateway, conversation_id, max_output_tokens=9)
    assert gateway.engine.prompt_calls[-1].sampling.max_output_tokens == 9


async def test_no_prompt_exceeds_the_context_or_leaves_room_for_another_exchange(
    gateway: Replica, conversation_id: str
) -> None:
    gateway.engine.context_tokens = 1000
    gateway.engine.events = text_stream("a" * 50)
    sizes = [50, 200, 30, 400, 10, 120, 333, 60, 500, 20, 90]
    for number, size in enumerate(sizes):
        await respond(gateway, conversation_id, "u" * size)
        sent = sum(len(text.encode()) for text in gateway.engine.prompt_texts)
        assert sent < 1000
        left_out = number - gateway.engine.prompt_texts.count("a" * 50)
        if left_out:
            assert sent + sizes[left_out - 1] + 50 > 1000 - 256


def exchanges(questions: int, *first: InputMessage) -> list[InputMessage]:
    pairs = [
        (InputMessage("user", f"question {one}"), InputMessage("assistant", f"answer {one}"))
        for one in range(questions)
    ]
    return [*first, *(message for pair in pairs for message in pair)]


class CountingReader(HistoryReader):
    """Counts how often older items are loaded."""

    loads = 0

    async def load_older(self, *arguments: Any) -> ThreadSnapshot:
        CountingReader.loads += 1
        return await super().load_older(*arguments)


LONG = RECENT_ITEMS  # exchanges: twice as many items as are read first


async def test_a_long_conversation_is_sent_whole_where_the_context_has_room(
    gateway: Replica,
) -> None:
    gateway.engine.context_tokens = 131_072
    conversation_id = await create_conversation(gateway, exchanges(LONG))
    response = await respond(gateway, conversation_id, truncation="disabled")
    assert response["status"] == "completed"
    assert response["window"]["items_left_out"] == 0
    assert gateway.engine.prompt_texts == ["be kind", *(item.text for item in exchanges(LONG)), "hi"]


async def test_no_more_of_a_long_conversation_is_left_out_than_necessary(gateway: Replica) -> None:
    gateway.engine.context_tokens = 6_000
    conversation_id = await create_conversation(gateway, exchanges(LONG))
    window = (await respond(gateway, conversation_id))["window"]
    sent = sum(len(text) for text in gateway.engine.prompt_texts)
    oldest = window["items_left_out"] // 2
    assert 0 < oldest < LONG - RECENT_ITEMS // 2
    assert gateway.engine.prompt_texts[:2] == ["be kind", f"question {oldest}"]
    assert sent <= 6_000 - ROOM_FOR_AN_ANSWER_TOKENS
    assert sent + len(f"question {oldest - 1}answer {oldest - 1}") > 6_000 - ROOM_FOR_AN_ANSWER_TOKENS


async def test_without_truncation_a_long_conversation_that_does_not_fit_is_refused(gateway: Replica) -> None:
    gateway.engine.context_tokens = 6_000
    conversation_id = await create_conversation(gateway, exchanges(LONG))
    response = await respond(gateway, conversation_id, truncation="disabled")
    assert response["error"]["code"] == "context_length_exceeded"
    assert "6000" in response["error"]["message"]


@pytest.mark.parametrize("truncation", ["auto", "disabled"])
async def test_items_further_back_than_a_request_reads_are_left_out_or_refused(
    gateway: Replica, truncation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_loader, "MAX_READ_BYTES", 1)
    gateway.engine.context_tokens = 131_072
    conversation_id = await create_conversation(gateway, exchanges(LONG))
    response = await respond(gateway, conversation_id, truncation=truncation)
    if truncation == "auto":
        assert response["window"]["items_left_out"] == 2 * LONG - RECENT_ITEMS
    else:
        assert response["error"]["code"] == "context_length_exceeded"


async def test_the_next_turn_of_a_long_conversation_loads_older_items_once_and_counts_nothing(port: int) -> None:
    async with replica(port, FakeEngine(limit=131_072), history=CountingReader) as gateway:
        conversation_id = await create_conversation(gateway, exchanges(LONG))
        await respond(gateway, conversation_id)
        counted, CountingReader.loads = gateway.engine.tokenize_calls, 0
        for turns in (1, 2):
            assert (await respond(gateway, conversation_id))["window"]["items_left_out"] == 0
            assert (gateway.engine.tokenize_calls, CountingReader.loads) == (counted, turns)


async def test_older_items_are_loaded_once_although_the_engine_fails_while_the_window_is_chosen(port: int) -> None:
    class FailingOnce(FakeEngine):
        has_failed = False

        async def tokenize(self, *arguments: Any, **options: Any) -> TokenizedPrompt | None:
            if CountingReader.loads and not self.has_failed:
                self.has_failed = True
                raise Unavailable("vllm")
            return await super().tokenize(*arguments, **options)

    engine = FailingOnce(limit=131_072)
    CountingReader.loads = 0
    async with replica(port, engine, history=CountingReader) as gateway:
        conversation_id = await create_conversation(gateway, exchanges(LONG))
        assert (await respond(gateway, conversation_id))["window"]["items_left_out"] == 0
        assert (engine.has_failed, CountingReader.loads) == (True, 1)


async def test_a_short_conversation_is_read_in_one_round_trip(port: int) -> None:
    async with replica(port, history=CountingReader) as gateway:
        CountingReader.loads = 0
        await respond(gateway, await create_conversation(gateway, exchanges(5)))
        assert CountingReader.loads == 0


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_leading_instructions_are_never_left_out(gateway: Replica, role: Any) -> None:
    gateway.engine.context_tokens = 1000
    conversation_id = await create_conversation(gateway, [InputMessage(role, "answer in Latin")])
    for number in range(6):
        window = (await respond(gateway, conversation_id, f"{number}" * 200))["window"]
        assert gateway.engine.prompt_texts[0] == "answer in Latin"
        assert window["input_tokens"] == sum(len(text) for text in gateway.engine.prompt_texts)
    assert window["items_left_out"] > 2


async def test_leading_instructions_are_sent_before_a_long_conversation(gateway: Replica) -> None:
    gateway.engine.context_tokens = 2000
    first = [InputMessage("system", "answer in Latin"), InputMessage("developer", "and in verse")]
    conversation_id = await create_conversation(gateway, exchanges(LONG, *first))
    window = (await respond(gateway, conversation_id))["window"]
    assert gateway.engine.prompt_texts[0] == "answer in Latin\n\nand in verse"
    assert window["items_left_out"] + len(gateway.engine.prompt_texts) - 2 == 2 * LONG


async def test_leading_instructions_that_do_not_fit_are_refused_with_both_numbers(
    gateway: Replica,
) -> None:
    gateway.engine.context_tokens = 500
    conversation_id = await create_conversation(gateway, exchanges(5, InputMessage("system", "x" * 499)))
    response = await respond(gateway, conversation_id)
    assert response["error"]["code"] == "context_length_exceeded"
    assert {"500", "501"} <= set(response["error"]["message"].replace(";", "").split())


@pytest.mark.parametrize("store", [True, False])
async def test_a_long_chain_is_continued_whole(gateway: Replica, store: bool) -> None:
    gateway.engine.context_tokens = 131_072
    items = (*exchanges(LONG, InputMessage("system", "answer in Latin")), InputMessage("user", "one"))
    first = (await gateway.run_turn(ResponseCreate(input=items)))[-1]["response"]["id"]
    for _ in range(2):  # the end of the chain; a copy of it
        create = ResponseCreate(input="two", previous_response_id=first, store=store)
        window = (await gateway.run_turn(create))[-1]["response"]["window"]
        assert window["items_left_out"] == 0
        assert gateway.engine.prompt_texts == [*(item.text for item in items), "ok", "two"]


async def test_every_item_left_out_of_a_chain_is_counted(gateway: Replica) -> None:
    gateway.engine.context_tokens = 2000
    conversation_id = await create_conversation(gateway, exchanges(LONG))
    first = (await respond(gateway, conversation_id))["id"]
    create = ResponseCreate(input="two", previous_response_id=first, truncation="auto")
    window = (await gateway.run_turn(create))[-1]["response"]["window"]
    assert window["items_left_out"] + len(gateway.engine.prompt_texts) - 1 == 2 * LONG + 2 + 1


async def test_an_engine_that_cannot_count_gets_everything_and_no_limit_is_reported(port: int) -> None:
    class EngineWithoutTokenizer(FakeEngine):
        async def context_limit(self) -> int | None:
            return None

        async def tokenize(self, *_: object, **__: object) -> None:
            return None

    async with replica(port, EngineWithoutTokenizer()) as gateway:
        conversation_id = (await Conversations(gateway.redis).create("user_1", {})).id
        window = (await respond(gateway, conversation_id, "x" * 9000))["window"]
        assert window == {"items_left_out": 0, "input_tokens": 9007, "context_tokens": None}
