import asyncio
from collections.abc import AsyncGenerator
from typing import Literal

import pytest
from redis.asyncio import Redis

from gateway.errors import ParleyError, Unavailable
from gateway.inference import (
    EngineCall,
    EngineEvent,
    Finished,
    OutputOptions,
    ReasoningTextDelta,
    Sampling,
    TextDelta,
)
from gateway.runtime.titles import Titles
from gateway.store.history.conversations import Conversations
from tests.gateway.builders import stored_keys
from tests.gateway.items import ALICE

QUESTION = "How tall was the lighthouse at Alexandria, and who built it?"
FIRST_WORDS = "How tall was the lighthouse at…"


class FakeModel:
    """Streams `events` once `proceed` is set. `called` is set by the first of its `calls`."""

    def __init__(self, *events: EngineEvent, error: ParleyError | None = None, silent: bool = False) -> None:
        self._events = events
        self._error = error
        self.proceed = asyncio.Event()
        if not silent:
            self.proceed.set()
        self.calls: list[EngineCall] = []
        self.called = asyncio.Event()
        self.closed = 0

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]:
        assert call.options == OutputOptions()
        assert call.request_id.endswith(call.affinity)
        self.calls.append(call)
        try:
            self.called.set()
            await self.proceed.wait()
            for event in self._events:
                yield event
            if self._error is not None:
                raise self._error
        finally:
            self.closed += 1


class RecordedConversations:
    """Real conversations that record each title and whether it was set."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self.titles: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()

    async def retitle(self, user_id: str, conversation_id: str, title: str, *, instead_of: str) -> bool:
        done = await self._conversations.retitle(user_id, conversation_id, title, instead_of=instead_of)
        self.titles.put_nowait((title, done))
        return done


@pytest.fixture
def conversations(redis: Redis) -> Conversations:
    return Conversations(redis)


async def title_of(conversations: Conversations, conversation_id: str) -> str | None:
    return (await conversations.conversation(ALICE, conversation_id)).metadata.get("title")


async def wait_finished(titles: Titles) -> None:
    while titles.pending:
        await asyncio.wait(titles.pending)


def answering(text: str, reason: Literal["stop", "length"] = "stop", *, silent: bool = False) -> FakeModel:
    return FakeModel(
        ReasoningTextDelta("Hm. A title."), *(TextDelta(piece) for piece in text), Finished(reason), silent=silent
    )


async def test_the_models_title_replaces_the_first_words(conversations: Conversations) -> None:
    conversation = await conversations.create(ALICE, {"pinned": "1"})
    recorded = RecordedConversations(conversations)
    model = answering("“The Lighthouse of Alexandria.”")
    titles = Titles(model, recorded, "model")
    titles.schedule(ALICE, conversation.id, QUESTION, "About 100 m.")
    assert await recorded.titles.get() == (FIRST_WORDS, True)
    assert await recorded.titles.get() == ("The Lighthouse of Alexandria", True)
    found = await conversations.conversation(ALICE, conversation.id)
    assert found.metadata == {"pinned": "1", "title": "The Lighthouse of Alexandria"}


async def test_the_model_is_called_once_with_a_low_temperature_and_the_users_own_cache(
    conversations: Conversations,
) -> None:
    conversation = await conversations.create(ALICE, {})
    model = answering("灯塔")
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, conversation.id, "灯塔有多高？", "约一百米。")
    await wait_finished(titles)
    (call,) = model.calls
    assert [message.role for message in call.prompt] == ["system", "user"]
    assert call.prompt[1].text == "灯塔有多高？\n\n约一百米。"
    assert call.sampling == Sampling(temperature=0.2, top_p=0.9, repetition_penalty=1.0, max_output_tokens=24)
    assert (call.user_id, call.request_id) == (ALICE, f"title_{conversation.id}")
    assert model.closed == 1


@pytest.mark.parametrize(
    "model",
    [
        answering(""),
        answering("one\ntwo"),
        answering("x" * 61),
        answering("A title that was cut", "length"),
        FakeModel(error=Unavailable("vllm")),
        FakeModel(TextDelta("half a ti"), error=Unavailable("vllm")),
        FakeModel(silent=True),
    ],
    ids=["empty", "two lines", "too long", "cut", "fails at once", "fails midway", "takes too long"],
)
async def test_without_a_usable_title_from_the_model_the_first_words_stay(
    conversations: Conversations, model: FakeModel
) -> None:
    conversation = await conversations.create(ALICE, {})
    titles = Titles(model, conversations, "model", timeout_seconds=0.05)
    titles.schedule(ALICE, conversation.id, QUESTION, "!")
    await wait_finished(titles)
    assert await title_of(conversations, conversation.id) == FIRST_WORDS
    assert model.closed == 1


async def test_a_title_set_by_the_client_stays(conversations: Conversations) -> None:
    conversation = await conversations.create(ALICE, {"title": "mine"})
    model = answering("Lighthouses")
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, conversation.id, QUESTION, "!")
    await wait_finished(titles)
    assert (await title_of(conversations, conversation.id), model.calls) == ("mine", [])


async def test_a_title_set_by_the_client_during_generation_stays(conversations: Conversations) -> None:
    conversation = await conversations.create(ALICE, {})
    recorded, model = RecordedConversations(conversations), answering("Lighthouses", silent=True)
    titles = Titles(model, recorded, "model")
    titles.schedule(ALICE, conversation.id, QUESTION, "!")
    assert await recorded.titles.get() == (FIRST_WORDS, True)
    await conversations.update(ALICE, conversation.id, metadata={"title": "mine"})
    model.proceed.set()
    await wait_finished(titles)
    assert await recorded.titles.get() == ("Lighthouses", False)
    assert await title_of(conversations, conversation.id) == "mine"


async def test_a_conversation_deleted_during_generation_is_not_recreated(
    conversations: Conversations, redis: Redis
) -> None:
    conversation = await conversations.create(ALICE, {})
    model = answering("Lighthouses", silent=True)
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, conversation.id, QUESTION, "!")
    await model.called.wait()
    await conversations.delete(ALICE, conversation.id)
    model.proceed.set()
    await wait_finished(titles)
    assert await stored_keys(redis) == []


@pytest.mark.parametrize(("source", "title"), [("words", FIRST_WORDS), ("off", None)])
async def test_the_deployment_can_disable_model_titles_or_all_titles(
    conversations: Conversations, source: Literal["words", "off"], title: str | None
) -> None:
    conversation = await conversations.create(ALICE, {})
    model = answering("Lighthouses")
    titles = Titles(model, conversations, source)
    titles.schedule(ALICE, conversation.id, QUESTION, "!")
    await wait_finished(titles)
    assert (await title_of(conversations, conversation.id), model.calls) == (title, [])


async def test_close_does_not_wait_for_the_model_and_keeps_the_first_words(
    conversations: Conversations,
) -> None:
    conversation = await conversations.create(ALICE, {})
    model = FakeModel(silent=True)
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, conversation.id, QUESTION, "!")
    await model.called.wait()
    last = await conversations.create(ALICE, {})
    titles.schedule(ALICE, last.id, QUESTION, "!")
    await titles.close()
    assert model.closed == 1
    assert [await title_of(conversations, one.id) for one in (conversation, last)] == [FIRST_WORDS, FIRST_WORDS]


async def test_at_most_four_titles_are_generated_at_once(conversations: Conversations) -> None:
    model = FakeModel(silent=True)
    created = [await conversations.create(ALICE, {}) for _ in range(8)]
    recorded = RecordedConversations(conversations)
    titles = Titles(model, recorded, "model")
    for conversation in created:
        titles.schedule(ALICE, conversation.id, QUESTION, "!")
    for _ in created:
        await recorded.titles.get()
    assert len(model.calls) == 4
    model.proceed.set()
    await wait_finished(titles)
    assert len(model.calls) == 8
