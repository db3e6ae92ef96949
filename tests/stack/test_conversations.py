"""/v1/conversations through nginx, with the stock SDK, and over plain HTTP for routes that the SDK lacks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx2
import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI

from tests.stack.conftest import Deployment, receive_all
from tests.stack.plain_client import ADDED, api, got, posted_to
from tests.stack.strict_client import posted


@pytest.fixture
async def alice(deployment: Deployment) -> AsyncIterator[AsyncOpenAI]:
    async with deployment.client(deployment.alice) as client:
        yield client


@pytest.fixture
async def alice_api(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    async with api(deployment, deployment.alice) as client:
        yield client


@pytest.fixture
async def bob_api(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    async with api(deployment, deployment.bob) as client:
        yield client


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


def test_the_stock_client_creates_updates_and_deletes_a_conversation(deployment: Deployment) -> None:
    with OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice, max_retries=0) as client:
        made = client.conversations.create(metadata={"title": "灯塔"}, items=[ADDED])  # type: ignore[list-item]
        assert (made.object, made.metadata) == ("conversation", {"title": "灯塔"})
        renamed = client.conversations.update(made.id, metadata={"title": "Lighthouses"})
        assert renamed.metadata == {"title": "Lighthouses"}
        found = client.conversations.retrieve(made.id)
        assert (found.id, found.created_at, found.metadata) == (made.id, made.created_at, renamed.metadata)
        deleted = client.conversations.delete(made.id)
        assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "conversation.deleted", True)
        for gone in (client.conversations.retrieve, client.conversations.delete):
            with pytest.raises(NotFoundError):
                gone(made.id)


async def test_the_stock_client_adds_fetches_pages_and_deletes_items(alice: AsyncOpenAI) -> None:
    made = await alice.conversations.create()
    items = [{"type": "message", "role": "user", "content": text} for text in "abcde"]
    added = await alice.conversations.items.create(made.id, items=items)  # type: ignore[arg-type]
    assert (added.object, len(added.data), added.has_more) == ("list", 5, False)
    assert (added.first_id, added.last_id) == (added.data[0].id, added.data[4].id)
    paged = [item async for item in alice.conversations.items.list(made.id, limit=2)]
    assert paged == added.data[::-1]
    last = str(added.last_id)
    assert await alice.conversations.items.retrieve(last, conversation_id=made.id) == added.data[4]
    without = await alice.conversations.items.delete(last, conversation_id=made.id)
    assert (without.id, without.object, without.created_at) == (made.id, "conversation", made.created_at)
    with pytest.raises(NotFoundError):
        await alice.conversations.items.retrieve(last, conversation_id=made.id)
    assert [item async for item in alice.conversations.items.list(made.id, order="asc")] == added.data[:4]


async def test_items_of_every_kind_are_stored(alice: AsyncOpenAI) -> None:
    made = await alice.conversations.create()
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {"role": "assistant", "content": "Sunny.", "phase": "final_answer"},
    ]
    added = await alice.conversations.items.create(made.id, items=items)  # type: ignore[arg-type]
    kinds = ["message", "function_call", "function_call_output", "reasoning", "message"]
    assert [item.type for item in added.data] == kinds


async def test_added_items_are_in_the_prompt_of_the_next_answer(alice: AsyncOpenAI, deployment: Deployment) -> None:
    made = await alice.conversations.create(metadata={"title": "t"})
    await alice.conversations.items.create(made.id, items=[{"role": "user", "content": "My name is Alice."}])
    await alice.conversations.items.create(made.id, items=[{"role": "assistant", "content": "Hello!"}])
    await alice.responses.create(model="parley-demo", conversation=made.id, input="What is my name?")
    assert [one["content"] for one in deployment.prompts()[-1]][1:] == [
        "My name is Alice.",
        "Hello!",
        "What is my name?",
    ]


async def test_a_conversations_own_generation_reaches_the_model(
    alice_api: httpx2.AsyncClient, deployment: Deployment
) -> None:
    pirate = {"instructions": "Speak as a pirate.", "temperature": 0.1, "max_output_tokens": 50}
    made = await posted_to(alice_api, "/conversations", metadata={"title": "t"}, generation=pirate)
    assert made["generation"] == pirate
    colder = await posted_to(alice_api, f"/conversations/{made['id']}", generation={**pirate, "temperature": 0})
    assert (colder["generation"]["temperature"], colder["metadata"]) == (0, {"title": "t"})
    whole = await posted(alice_api, "/responses", conversation=made["id"], input="ahoy, generation")
    assert whole["temperature"] == 0
    asked = deployment.engine_request("ahoy, generation")["body"]
    assert asked["messages"][0] == {"role": "system", "content": "Speak as a pirate."}
    assert (asked["temperature"], asked["max_tokens"]) == (0, 50)


async def test_the_list_shows_running_answers_and_stays_correct_while_the_order_changes(
    alice_api: httpx2.AsyncClient, deployment: Deployment
) -> None:
    made = [(await posted_to(alice_api, "/conversations", metadata={"title": f"paged {n}"}))["id"] for n in range(5)]
    first = await got(alice_api, "/conversations", limit=2)
    assert [one["id"] for one in first["data"]] == [made[4], made[3]]
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(
            f'{{"type": "response.create", "conversation": "{made[3]}", "input": "[[tokens=2000 pace=0.02]]"}}'
        )
        started = await socket.recv()
        assert '"response.created"' in str(started)
        (top,) = (await got(alice_api, "/conversations", limit=1))["data"]
        assert top["id"] == made[3]
        (running,) = top["active_responses"]
        assert running in str(started)
        second = await got(alice_api, "/conversations", limit=2, after=first["next_after"])
        assert [one["id"] for one in second["data"]] == [made[2], made[1]]
        assert (second["has_more"], second["next_after"] is None) == (True, False)
        await alice_api.post(f"/responses/{running}/cancel")
        await receive_all(socket)
    assert (await got(alice_api, f"/conversations/{made[3]}"))["active_responses"] == []


async def test_a_search_finds_titles_and_messages(alice_api: httpx2.AsyncClient, bob_api: httpx2.AsyncClient) -> None:
    item = {"role": "user", "content": "Wie hoch ist der LEUCHTTURM von 亚历山大？"}
    made = await posted_to(alice_api, "/conversations", metadata={"title": "Towers"}, items=[item])
    for query in ("leuchtturm towers", "亚历山大", "  Towers\t"):
        page = await got(alice_api, "/conversations", query=query)
        assert [one["id"] for one in page["data"]] == [made["id"]]
        assert (page["object"], page["first_id"], page["last_id"]) == ("list", made["id"], made["id"])
        assert (await got(bob_api, "/conversations", query=query))["data"] == []
    assert (await got(alice_api, "/conversations", query="leuchtturm towers nowhere"))["data"] == []


async def test_deleting_a_conversation_stops_its_running_answer_for_good(
    alice: AsyncOpenAI, alice_api: httpx2.AsyncClient, deployment: Deployment
) -> None:
    made = await alice.conversations.create(metadata={"title": "short-lived"})
    question = "[[tokens=5000 pace=0.02]] deleted in the middle"
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(f'{{"type": "response.create", "conversation": "{made.id}", "input": "{question}"}}')
        assert '"response.created"' in str(await socket.recv())
        await alice.conversations.delete(made.id)
        events = await receive_all(socket)
    assert events[-1]["type"] == "response.incomplete"
    assert events[-1]["response"]["incomplete_details"]["reason"] == "cancelled"

    async def gone() -> bool:
        return (await alice_api.get(f"/responses/{events[-1]['response']['id']}")).status_code == 404

    await until(gone)
    with pytest.raises(NotFoundError):
        await alice.conversations.retrieve(made.id)
    assert made.id not in [one["id"] for one in (await got(alice_api, "/conversations", limit=100))["data"]]


async def test_the_model_gives_a_new_conversation_its_title(alice: AsyncOpenAI, alice_api: httpx2.AsyncClient) -> None:
    made = await alice.conversations.create(metadata={"pinned": "1"})
    await alice.responses.create(model="parley-demo", conversation=made.id, input="灯塔有多高？")

    async def titled() -> bool:
        whole = await got(alice_api, f"/conversations/{made.id}")
        return bool(whole["metadata"] == {"pinned": "1", "title": "关于灯塔有多高？"})

    await until(titled)


async def test_a_title_set_by_the_user_is_kept(
    alice: AsyncOpenAI, alice_api: httpx2.AsyncClient, deployment: Deployment
) -> None:
    made = await alice.conversations.create(metadata={"title": "mine"})
    await alice.responses.create(model="parley-demo", conversation=made.id, input="[[text=Yes.]] Is it mine?")
    unnamed = await alice.conversations.create()
    await alice.responses.create(model="parley-demo", conversation=unnamed.id, input="[[text=Yes.]] Is it yours?")

    async def titled() -> bool:
        whole = await got(alice_api, f"/conversations/{unnamed.id}")
        return bool(whole["metadata"] == {"title": "About Is it yours?"})

    await until(titled)
    assert (await got(alice_api, f"/conversations/{made.id}"))["metadata"] == {"title": "mine"}
    assert deployment.engine_request("[[text=Yes.]] Is it yours?\n\nYes.")
    with pytest.raises(IndexError):
        deployment.engine_request("[[text=Yes.]] Is it mine?\n\nYes.")
