import asyncio
import json
from collections.abc import AsyncGenerator, Sequence

import anyio
import pytest

from gateway.conversation import Count, Prompt
from gateway.errors import EngineFailed, ModelNotFound, NotFound, ParleyError, Unavailable
from gateway.generation import EngineEvent, Finished, Sampling, Tokens, Used
from gateway.protocol.requests import ResponseCreate
from gateway.protocol.resources import Message, Usage
from gateway.turns import Defaults, RunningTurn, Turns

CONVERSATION = "conv_1"
DEFAULTS = Defaults("be kind", Sampling(0.45, 0.9, 1.2, 10240))


class FakeEngine:
    """Says `text` letter by letter; `hold` keeps it from going on after the first."""

    def __init__(self, text: str = "ok", *, reason: str = "stop", error: Exception | None = None) -> None:
        self.text = text
        self.finished = Finished("length" if reason == "length" else "stop")
        self.error = error
        self.hold: asyncio.Event | None = None
        self.closed = asyncio.Event()
        self.prompts: tuple[Prompt, ...] = ()
        self.sampling: Sampling | None = None

    async def model(self) -> str:
        return "parley-demo"

    async def count(self, prompts: tuple[Prompt, ...]) -> Count | None:
        return Count(sum(len(prompt.text) for prompt in prompts), 1000)

    async def stream(
        self, prompts: tuple[Prompt, ...], sampling: Sampling, *, user_id: str, request_id: str
    ) -> AsyncGenerator[EngineEvent]:
        self.prompts, self.sampling = prompts, sampling
        try:
            for letter in self.text:
                yield Tokens(letter, (ord(letter),))
                if self.hold is not None:
                    await self.hold.wait()
            if self.error is not None:
                raise self.error
            yield self.finished
            yield Used(Usage(3, len(self.text), 3 + len(self.text)))
        finally:
            self.closed.set()


class FakeConversations:
    def __init__(self) -> None:
        self.items: list[Message] = []
        self.failures = 0

    async def reserve(self, user_id: str, conversation_id: str, count: int) -> tuple[list[Message], int]:
        if conversation_id != CONVERSATION:
            raise NotFound("conversation", param="conversation")
        return list(self.items), len(self.items) + 1

    async def append(self, user_id: str, conversation_id: str, items: Sequence[Message]) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("redis")
        self.items += items


async def events(running: RunningTurn) -> list[dict[str, object]]:
    return [json.loads(text) async for text in running.log.follow()]


def ask(text: str, **more: object) -> ResponseCreate:
    return ResponseCreate(input=text, conversation=CONVERSATION, **more)  # type: ignore[arg-type]


async def test_a_second_turn_sends_the_first_one_along() -> None:
    engine, history = FakeEngine("fine"), FakeConversations()
    turns = Turns(engine, history, DEFAULTS)
    await events(await turns.start("user_1", ask("how are you?")))
    await events(await turns.start("user_1", ask("and now?")))
    assert [(prompt.role, prompt.text) for prompt in engine.prompts] == [
        ("system", "be kind"),
        ("user", "how are you?"),
        ("assistant", "fine"),
        ("user", "and now?"),
    ]


async def test_the_message_is_in_history_before_the_answer_begins() -> None:
    engine, history = FakeEngine(), FakeConversations()
    await Turns(engine, history, DEFAULTS).start("user_1", ask("hello"))
    assert [item.text for item in history.items] == ["hello"]
    assert not engine.prompts


async def test_the_answer_is_in_history_before_anybody_hears_that_it_is_complete() -> None:
    engine, history = FakeEngine("whole"), FakeConversations()
    running = await Turns(engine, history, DEFAULTS).start("user_1", ask("hello"))
    async for text in running.log.follow():
        if json.loads(text)["type"] == "response.completed":
            assert [item.text for item in history.items] == ["hello", "whole"]


async def test_instructions_replace_the_system_prompt_and_parameters_reach_the_engine() -> None:
    engine = FakeEngine()
    turns = Turns(engine, FakeConversations(), DEFAULTS)
    create = ask("x", instructions="be brief", temperature=0.0, top_p=0.5, max_output_tokens=7)
    last = (await events(await turns.start("user_1", create)))[-1]
    assert engine.prompts[0] == Prompt("system", "be brief")
    assert engine.sampling == Sampling(0.0, 0.5, 1.2, 7)
    response = last["response"]
    assert isinstance(response, dict)
    assert (response["temperature"], response["instructions"]) == (0.0, "be brief")


async def test_the_output_limit_stays_within_what_the_window_leaves() -> None:
    engine = FakeEngine()
    await events(await Turns(engine, FakeConversations(), DEFAULTS).start("user_1", ask("x" * 100)))
    assert engine.sampling is not None
    assert engine.sampling.max_output_tokens == 1000 - 100 - len("be kind")


async def test_a_conversation_that_no_longer_fits_is_trimmed_or_refused_as_the_request_says() -> None:
    engine, history = FakeEngine(), FakeConversations()
    turns = Turns(engine, history, DEFAULTS)
    for _ in range(3):
        await events(await turns.start("user_1", ask("x" * 300, truncation="auto")))
    assert [prompt.text[0] for prompt in engine.prompts] == ["b", "x", "o", "x"]
    refused = (await events(await turns.start("user_1", ask("x" * 300))))[-1]["response"]
    assert isinstance(refused, dict)
    assert refused["error"]["code"] == "context_length_exceeded"
    assert refused["truncation"] == "disabled"


async def test_a_message_too_long_fails_once_and_leaves_the_conversation_usable() -> None:
    engine, history = FakeEngine("fine"), FakeConversations()
    turns = Turns(engine, history, DEFAULTS)
    failed = (await events(await turns.start("user_1", ask("x" * 3000, truncation="auto"))))[-1]
    assert failed["type"] == "response.failed"
    for _ in range(2):
        assert (await events(await turns.start("user_1", ask("short", truncation="auto"))))[-1]["type"] == (
            "response.completed"
        )
    assert [prompt.text for prompt in engine.prompts] == ["be kind", "short", "fine", "short"]


async def test_a_turn_ends_although_its_answer_can_not_be_kept() -> None:
    class Broken(FakeConversations):
        async def append(self, user_id: str, conversation_id: str, items: Sequence[Message]) -> None:
            if items[0].role == "assistant":
                raise ZeroDivisionError
            await super().append(user_id, conversation_id, items)

    ended = (await events(await Turns(FakeEngine(), Broken(), DEFAULTS).start("user_1", ask("go"))))[-1]
    assert ended["type"] == "response.failed"


async def test_stopping_closes_the_engines_stream_and_keeps_the_text() -> None:
    engine, history = FakeEngine("half an answer"), FakeConversations()
    engine.hold = asyncio.Event()
    turns = Turns(engine, history, DEFAULTS)
    running = await turns.start("user_1", ask("go"))
    async for text in running.log.follow():
        if json.loads(text)["type"] == "response.output_text.delta":
            turns.find("user_1", running.response_id).stop()
            running.stop()
            break
    ended = await events(running)
    assert engine.closed.is_set()
    assert ended[-1]["type"] == "response.incomplete"
    assert [(item.text, item.status) for item in history.items[1:]] == [("h", "incomplete")]


async def test_an_answer_that_ran_out_of_tokens_is_incomplete() -> None:
    running = await Turns(FakeEngine("abc", reason="length"), FakeConversations(), DEFAULTS).start("u", ask("go"))
    response = (await events(running))[-1]["response"]
    assert isinstance(response, dict)
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == 3


@pytest.mark.parametrize(
    ("error", "code"), [(EngineFailed("x"), "model_error"), (Unavailable("vllm"), "service_unavailable")]
)
async def test_an_engine_that_fails_ends_the_turn_by_name_with_the_partial_text_kept(
    error: ParleyError, code: str
) -> None:
    history = FakeConversations()
    running = await Turns(FakeEngine("par", error=error), history, DEFAULTS).start("user_1", ask("go"))
    last = (await events(running))[-1]
    response = last["response"]
    assert isinstance(response, dict)
    assert (last["type"], response["error"]["code"]) == ("response.failed", code)
    assert history.items[-1].text == "par"


async def test_a_bug_ends_one_turn_with_an_error_and_no_other() -> None:
    class Broken(FakeEngine):
        async def count(self, prompts: tuple[Prompt, ...]) -> Count | None:
            raise ZeroDivisionError

    turns = Turns(Broken(), FakeConversations(), DEFAULTS)
    last = (await events(await turns.start("user_1", ask("go"))))[-1]
    response = last["response"]
    assert isinstance(response, dict)
    assert response["error"]["code"] == "server_error"
    assert "Zero" not in response["error"]["message"]


async def test_what_was_shown_is_kept_although_a_bug_ended_the_answer() -> None:
    engine, history = FakeEngine("shown", error=ZeroDivisionError()), FakeConversations()
    ended = (await events(await Turns(engine, history, DEFAULTS).start("user_1", ask("go"))))[-1]
    assert ended["type"] == "response.failed"
    assert [(item.text, item.status) for item in history.items[1:]] == [("shown", "incomplete")]


async def test_an_answer_is_committed_although_redis_was_away_for_a_moment() -> None:
    history = FakeConversations()
    running = await Turns(FakeEngine("kept"), history, DEFAULTS).start("user_1", ask("go"))
    history.failures = 1
    assert (await events(running))[-1]["type"] == "response.completed"
    assert history.items[-1].text == "kept"


async def test_a_client_that_hangs_up_while_asking_finds_the_answer_later() -> None:
    class Slow(FakeConversations):
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def append(self, user_id: str, conversation_id: str, items: Sequence[Message]) -> None:
            self.reached.set()
            await self.go_on.wait()
            await super().append(user_id, conversation_id, items)

    history = Slow()
    turns = Turns(FakeEngine("the answer"), history, DEFAULTS)

    async with anyio.create_task_group() as client:
        client.start_soon(turns.start, "user_1", ask("hello"))
        await history.reached.wait()
        client.cancel_scope.cancel()
        history.go_on.set()
    await turns.drain(5)
    assert [item.text for item in history.items] == ["hello", "the answer"]


async def test_what_was_not_accepted_starts_nothing() -> None:
    engine, history = FakeEngine(), FakeConversations()
    turns = Turns(engine, history, DEFAULTS)
    with pytest.raises(NotFound):
        await turns.start("user_1", ResponseCreate(input="x", conversation="conv_other"))
    with pytest.raises(ModelNotFound):
        await turns.start("user_1", ask("x", model="gpt-9"))
    history.failures = 1
    with pytest.raises(Unavailable):
        await turns.start("user_1", ask("x"))
    await turns.drain(0)
    assert not engine.prompts
    assert not history.items


async def test_a_foreign_turn_answers_as_an_absent_one() -> None:
    engine = FakeEngine()
    engine.hold = asyncio.Event()
    turns = Turns(engine, FakeConversations(), DEFAULTS)
    running = await turns.start("user_1", ask("go"))
    for user, response_id in (("user_2", running.response_id), ("user_1", "resp_absent")):
        with pytest.raises(NotFound) as caught:
            turns.find(user, response_id)
        assert caught.value.message == "no such running response"
    await turns.drain(0)


async def test_draining_lets_turns_finish_and_stops_the_rest_with_their_text_kept() -> None:
    slow, history = FakeEngine("never ends"), FakeConversations()
    slow.hold = asyncio.Event()
    turns = Turns(slow, history, DEFAULTS)
    running = await turns.start("user_1", ask("go"))
    follower = asyncio.create_task(events(running))
    await turns.drain(0.05)
    assert (await follower)[-1]["type"] == "response.incomplete"
    assert history.items[-1].text == "n"


async def test_a_turn_without_a_conversation_is_answered_and_leaves_no_history() -> None:
    history = FakeConversations()
    last = (await events(await Turns(FakeEngine(), history, DEFAULTS).start("u", ResponseCreate(input="hi"))))[-1]
    response = last["response"]
    assert isinstance(response, dict)
    assert (response["status"], response["store"], response["conversation"]) == ("completed", False, None)
    assert not history.items
