"""A conversation longer than the model's context, on real vLLM: every prompt fits, by the engine's own count."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from anyio.from_thread import start_blocking_portal
from openai import AsyncOpenAI, BadRequestError

from dev.engine_commands import CONTEXT_TOKENS
from dev.stack import Plan, Stack
from gateway.runtime.context_window import ROOM_FOR_AN_ANSWER_TOKENS
from tests.stack.accounts import create_accounts
from tests.stack.breaking_proxy import BreakingProxy
from tests.stack.conftest import PASSWORD
from tests.stack.request_recorder import RequestRecorder
from tests.stack.strict_client import MODEL

pytestmark = pytest.mark.vllm

ENGLISH = "The keeper of the lighthouse counts the ships that pass at night. "
CHINESE = "守灯塔的人每夜数着海上来往的船只。"
ANSWER_TOKENS = 16
# Sentences per message: many small turns first, then larger ones, and one that leaves hardly any space for others.
SENTENCES = (*[2] * 12, *[25, 8, 40] * 5, 120, *[20, 3, 30] * 4)


@dataclass(frozen=True)
class Turn:
    """One answer, the engine's requests for it, and the messages before it."""

    response: Any
    sent: list[Any]
    tokens: int
    counts: int
    before: list[Any]
    question: str

    @property
    def left_out(self) -> int:
        """The number of items that were left out."""
        return len(self.before) + 2 - len(self.sent)


class Engine:
    def __init__(self, url: str, recorder: RequestRecorder) -> None:
        self.recorder = recorder
        self._url = url

    async def count(self, messages: list[Any]) -> int:
        async with httpx2.AsyncClient() as client:
            answer = await client.post(f"{self._url}/tokenize", json={"model": MODEL, "messages": messages})
        counted = answer.json()
        assert counted["max_model_len"] == CONTEXT_TOKENS
        return int(counted["count"])


@dataclass(frozen=True)
class Chat:
    client: AsyncOpenAI
    engine: Engine

    async def ask(self, conversation: str, question: str, **fields: Any) -> Any:
        return await self.client.responses.create(
            model=MODEL, conversation=conversation, input=question, max_output_tokens=ANSWER_TOKENS, **fields
        )

    async def messages(self, conversation: str) -> list[dict[str, str]]:
        """The conversation's messages in the engine's format."""
        items = self.client.conversations.items.list(conversation, order="asc", limit=100)
        found: list[Any] = [item.to_dict() async for item in items]
        return [{"role": one["role"], "content": one["content"][0]["text"]} for one in found]


@pytest.fixture(scope="module")
def recorder() -> RequestRecorder:
    return RequestRecorder()


@pytest.fixture(scope="module")
def stack(vllm_url: str, recorder: RequestRecorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    port = urlsplit(vllm_url).port
    assert port is not None
    with (
        # In its own thread, because the main one starts the stack, which sends requests to its engine meanwhile.
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(BreakingProxy(port, observe=recorder.observer)) as proxy,
    ):
        titles = {"GATEWAY_TITLES": "off"}
        plan = Plan(tmp_path_factory.mktemp("window"), engine=f"{proxy.url}/v1", gateways=1, gateway=titles)
        with Stack(plan) as stack:
            yield stack


@pytest.fixture(scope="module")
async def chat(stack: Stack, vllm_url: str, recorder: RequestRecorder) -> AsyncIterator[Chat]:
    [key] = create_accounts(stack, {"alice": PASSWORD}, keys=["alice"])
    async with AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=0) as client:
        yield Chat(client, Engine(vllm_url, recorder))


@pytest.fixture(scope="module")
async def turns(chat: Chat) -> list[Turn]:
    """All turns of a conversation that grew to three times the context, in two languages."""
    conversation = (await chat.client.conversations.create()).id
    recorder, turns = chat.engine.recorder, []
    for number, sentences in enumerate(SENTENCES):
        question = (CHINESE if number % 2 else ENGLISH) * sentences
        before, since = await chat.messages(conversation), len(recorder.requests)
        response = await chat.ask(conversation, question, truncation="auto")
        (body,) = recorder.bodies("/v1/chat/completions", since)
        counts = len(recorder.bodies("/tokenize", since))
        tokens = await chat.engine.count(body["messages"])
        turns.append(Turn(response, body["messages"], tokens, counts, before, question))
    assert await chat.engine.count(await chat.messages(conversation)) > 3 * CONTEXT_TOKENS
    return turns


async def test_every_question_is_answered(turns: list[Turn]) -> None:
    assert {turn.response.status for turn in turns} <= {"completed", "incomplete"}
    assert all(turn.response.usage.output_tokens > 0 for turn in turns)


async def test_no_prompt_exceeds_the_limit(turns: list[Turn]) -> None:
    assert max(turn.tokens for turn in turns) <= CONTEXT_TOKENS - ANSWER_TOKENS


async def test_a_prompt_is_the_end_of_the_conversation_in_whole_turns(turns: list[Turn]) -> None:
    for turn in turns:
        system, *messages = turn.sent
        assert system["role"] == "system"
        assert messages == [*turn.before, {"role": "user", "content": turn.question}][turn.left_out :]
        assert turn.left_out % 2 == 0


async def test_no_more_turns_are_left_out_than_necessary(turns: list[Turn], chat: Chat) -> None:
    leaving_out = [turn for turn in turns if turn.left_out]
    assert len(leaving_out) > 10
    for turn in leaving_out:
        system, *messages = turn.sent
        one_more = [system, *turn.before[turn.left_out - 2 : turn.left_out], *messages]
        assert await chat.engine.count(one_more) > CONTEXT_TOKENS - ROOM_FOR_AN_ANSWER_TOKENS


async def test_the_answer_has_the_numbers_of_left_out_used_and_available(turns: list[Turn]) -> None:
    for turn in turns:
        assert turn.response.usage.input_tokens == turn.tokens
        assert turn.response.window == {
            "items_left_out": turn.left_out,
            "input_tokens": turn.tokens,
            "context_tokens": CONTEXT_TOKENS,
        }


async def test_no_tokens_are_counted_while_the_last_usage_proves_that_the_prompt_fits(turns: list[Turn]) -> None:
    counts = [turn.counts for turn in turns]
    assert counts[:12] == [0] * 12
    assert all(turn.counts > 0 for turn in turns if turn.left_out)


async def test_the_system_prompt_is_sent_and_counted_however_long_the_conversation_gets(chat: Chat) -> None:
    first = {"role": "system", "content": "You are the keeper of a lighthouse."}
    conversation = (await chat.client.conversations.create(items=[{"type": "message", **first}])).id  # type: ignore[list-item]
    for number in range(6):
        since = len(chat.engine.recorder.requests)
        response = await chat.ask(conversation, f"{number} {ENGLISH * 60}", truncation="auto")
        (body,) = chat.engine.recorder.bodies("/v1/chat/completions", since)
        assert body["messages"][0] == first
        assert response.usage.input_tokens == await chat.engine.count(body["messages"])
    assert response.window["items_left_out"] > 2


@pytest.mark.parametrize("sentence", [ENGLISH, CHINESE], ids=["English", "Chinese"])
async def test_a_first_message_that_is_too_long_is_refused_with_both_numbers_and_the_next_is_answered(
    chat: Chat, sentence: str
) -> None:
    conversation = (await chat.client.conversations.create()).id
    with pytest.raises(BadRequestError) as caught:
        await chat.ask(conversation, sentence * 600, truncation="auto")
    tokens = await chat.engine.count(chat.engine.recorder.bodies("/tokenize")[-1]["messages"])
    assert tokens > CONTEXT_TOKENS
    assert caught.value.code == "context_length_exceeded"
    assert {str(tokens), str(CONTEXT_TOKENS)} <= set(caught.value.message.replace(";", "").split())
    answer = await chat.ask(conversation, sentence, truncation="auto")
    assert answer.window["items_left_out"] == 1
    assert answer.usage.output_tokens > 0


async def test_without_truncation_a_full_conversation_is_refused_with_both_numbers(chat: Chat) -> None:
    conversation = (await chat.client.conversations.create()).id
    for sentence in (ENGLISH, CHINESE):
        await chat.ask(conversation, sentence * 80)
    since = len(chat.engine.recorder.requests)
    with pytest.raises(BadRequestError) as caught:
        await chat.ask(conversation, ENGLISH * 300)
    (counted,) = chat.engine.recorder.bodies("/tokenize", since)
    tokens = await chat.engine.count(counted["messages"])
    assert len(counted["messages"]) == 6
    assert chat.engine.recorder.bodies("/v1/chat/completions", since) == []
    assert caught.value.code == "context_length_exceeded"
    assert {str(tokens), str(CONTEXT_TOKENS)} <= set(caught.value.message.replace(";", "").split())
