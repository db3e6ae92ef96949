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
WORDS = "How tall was the lighthouse at…"


class Model:
    """Says what it is given to say, once it `may`; `calls` are those it got."""

    def __init__(self, *says: EngineEvent, error: ParleyError | None = None, silent: bool = False) -> None:
        self._says = says
        self._error = error
        self.may = asyncio.Event()
        if not silent:
            self.may.set()
        self.calls: list[EngineCall] = []
        self.waits = asyncio.Event()
        self.closed = 0

    async def stream(self, call: EngineCall) -> AsyncGenerator[EngineEvent]:
        assert call.options == OutputOptions()
        assert call.request_id.endswith(call.affinity)
        self.calls.append(call)
        try:
            self.waits.set()
            await self.may.wait()
            for event in self._says:
                yield event
            if self._error is not None:
                raise self._error
        finally:
            self.closed += 1


class Listened:
    """The conversations, and every title that one of them was given or refused."""

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


async def finished(titles: Titles) -> None:
    while titles.pending:
        await asyncio.wait(titles.pending)


def says(text: str, reason: Literal["stop", "length"] = "stop", *, silent: bool = False) -> Model:
    return Model(
        ReasoningTextDelta("Hm. A title."), *(TextDelta(piece) for piece in text), Finished(reason), silent=silent
    )


async def test_the_models_title_replaces_the_first_words(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {"pinned": "1"})
    listened = Listened(conversations)
    model = says("“The Lighthouse of Alexandria.”")
    titles = Titles(model, listened, "model")
    titles.schedule(ALICE, made.id, QUESTION, "About 100 m.")
    assert await listened.titles.get() == (WORDS, True)
    assert await listened.titles.get() == ("The Lighthouse of Alexandria", True)
    found = await conversations.conversation(ALICE, made.id)
    assert found.metadata == {"pinned": "1", "title": "The Lighthouse of Alexandria"}


async def test_the_model_is_called_once_with_a_low_temperature_and_the_users_own_cache(
    conversations: Conversations,
) -> None:
    made = await conversations.create(ALICE, {})
    model = says("灯塔")
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, made.id, "灯塔有多高？", "约一百米。")
    await finished(titles)
    (call,) = model.calls
    assert [message.role for message in call.prompt] == ["system", "user"]
    assert call.prompt[1].text == "灯塔有多高？\n\n约一百米。"
    assert call.sampling == Sampling(temperature=0.2, top_p=0.9, repetition_penalty=1.0, max_output_tokens=24)
    assert (call.user_id, call.request_id) == (ALICE, f"title_{made.id}")
    assert model.closed == 1


@pytest.mark.parametrize(
    "model",
    [
        says(""),
        says("one\ntwo"),
        says("x" * 61),
        says("A title that was cut", "length"),
        Model(error=Unavailable("vllm")),
        Model(TextDelta("half a ti"), error=Unavailable("vllm")),
        Model(silent=True),
    ],
    ids=["empty", "two lines", "too long", "cut", "fails at once", "fails midway", "takes too long"],
)
async def test_without_a_usable_title_from_the_model_the_first_words_stay(
    conversations: Conversations, model: Model
) -> None:
    made = await conversations.create(ALICE, {})
    titles = Titles(model, conversations, "model", timeout_seconds=0.05)
    titles.schedule(ALICE, made.id, QUESTION, "!")
    await finished(titles)
    assert await title_of(conversations, made.id) == WORDS
    assert model.closed == 1


async def test_a_title_set_by_the_client_stays(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {"title": "mine"})
    model = says("Lighthouses")
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, made.id, QUESTION, "!")
    await finished(titles)
    assert (await title_of(conversations, made.id), model.calls) == ("mine", [])


async def test_a_title_set_by_the_client_during_generation_stays(conversations: Conversations) -> None:
    made = await conversations.create(ALICE, {})
    listened, model = Listened(conversations), says("Lighthouses", silent=True)
    titles = Titles(model, listened, "model")
    titles.schedule(ALICE, made.id, QUESTION, "!")
    assert await listened.titles.get() == (WORDS, True)
    await conversations.update(ALICE, made.id, metadata={"title": "mine"})
    model.may.set()
    await finished(titles)
    assert await listened.titles.get() == ("Lighthouses", False)
    assert await title_of(conversations, made.id) == "mine"


async def test_a_conversation_deleted_during_generation_is_not_recreated(
    conversations: Conversations, redis: Redis
) -> None:
    made = await conversations.create(ALICE, {})
    model = says("Lighthouses", silent=True)
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, made.id, QUESTION, "!")
    await model.waits.wait()
    await conversations.delete(ALICE, made.id)
    model.may.set()
    await finished(titles)
    assert await stored_keys(redis) == []


@pytest.mark.parametrize(("how", "title"), [("words", WORDS), ("off", None)])
async def test_the_deployment_can_disable_model_titles_or_all_titles(
    conversations: Conversations, how: Literal["words", "off"], title: str | None
) -> None:
    made = await conversations.create(ALICE, {})
    model = says("Lighthouses")
    titles = Titles(model, conversations, how)
    titles.schedule(ALICE, made.id, QUESTION, "!")
    await finished(titles)
    assert (await title_of(conversations, made.id), model.calls) == (title, [])


async def test_close_does_not_wait_for_the_model_and_keeps_the_first_words(
    conversations: Conversations,
) -> None:
    made = await conversations.create(ALICE, {})
    model = Model(silent=True)
    titles = Titles(model, conversations, "model")
    titles.schedule(ALICE, made.id, QUESTION, "!")
    await model.waits.wait()
    last = await conversations.create(ALICE, {})
    titles.schedule(ALICE, last.id, QUESTION, "!")
    await titles.close()
    assert model.closed == 1
    assert [await title_of(conversations, one.id) for one in (made, last)] == [WORDS, WORDS]


async def test_at_most_four_titles_are_generated_at_once(conversations: Conversations) -> None:
    model = Model(silent=True)
    made = [await conversations.create(ALICE, {}) for _ in range(8)]
    listened = Listened(conversations)
    titles = Titles(model, listened, "model")
    for one in made:
        titles.schedule(ALICE, one.id, QUESTION, "!")
    for _ in made:
        await listened.titles.get()
    assert len(model.calls) == 4
    model.may.set()
    await finished(titles)
    assert len(model.calls) == 8
