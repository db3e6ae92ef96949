"""Two engines and two gateways: answers of one engine, and their continuation when that engine dies."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from anyio.to_thread import run_sync
from openai.types.chat import ChatCompletionMessageParam

from dev.process import Process
from dev.stack import Plan, Stack
from tests.stack.conftest import Deployment, ask, create_users, text_of

MODEL = "parley-demo"
LONG = "[[tokens=80 pace=0.02]]"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Stack(Plan(tmp_path_factory.mktemp("several"), engines=2, gateways=2)) as stack:
        yield create_users(stack)


def request_log(engine: Process) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx2.get(f"http://127.0.0.1:{engine.command.port}/requests").json()["data"]
    return found


def chats(engine: Process, text: str) -> list[dict[str, Any]]:
    """That engine's chat requests whose last message is `text`."""
    asked = (one for one in request_log(engine) if one["path"] == "/v1/chat/completions")
    return [one for one in asked if one["body"]["messages"][-1]["content"] == text]


def engines(deployment: Deployment) -> list[Process]:
    return [deployment.stack.engine(1), deployment.stack.engine(2)]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.02)


async def engines_of(deployment: Deployment, text: str) -> tuple[Process, Process]:
    """The engine that is generating the answer, and the other one."""
    while True:
        for number, engine in enumerate(engines(deployment)):
            if any(one["tokens"] > 5 for one in chats(engine, text)):
                return engine, engines(deployment)[1 - number]
        await asyncio.sleep(0.02)


async def start(engine: Process) -> None:
    """From this thread: the kernel ends a child when the thread that started it ends."""
    engine.start()
    await run_sync(engine.wait_ready)


async def answered(
    deployment: Deployment, text: str, conversation: str, gateway: int | None = None
) -> list[dict[str, Any]]:
    async with deployment.socket(deployment.alice, gateway=gateway) as socket:
        return await ask(socket, text, conversation=conversation)


async def test_a_conversation_stays_with_its_engine_at_any_gateway_and_others_are_distributed(
    deployment: Deployment,
) -> None:
    conversations = [await deployment.conversation(deployment.alice) for _ in range(8)]
    homes = set()
    for conversation in conversations:
        for turn in range(3):
            await answered(deployment, f"[[text=yes]] {conversation}", conversation, gateway=1 + turn % 2)
        found = [len(chats(engine, f"[[text=yes]] {conversation}")) for engine in engines(deployment)]
        assert sorted(found) == [0, 3]
        homes.add(tuple(found))
    assert homes == {(0, 3), (3, 0)}


async def test_when_an_engine_dies_its_answer_continues_on_the_other_until_it_recovers(deployment: Deployment) -> None:
    text = f"{LONG} it dies"
    uninterrupted = text_of(await answered(deployment, text, await deployment.conversation(deployment.alice)))
    for engine in engines(deployment):
        httpx2.delete(f"http://127.0.0.1:{engine.command.port}/requests")
    conversation = await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice, gateway=1) as socket:
        answering = asyncio.create_task(ask(socket, text, conversation=conversation))
        home, other = await engines_of(deployment, text)
        await run_sync(home.kill)
        events = await answering
    assert events[-1]["type"] == "response.completed"
    assert text_of(events) == uninterrupted
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    assert [one["path"] for one in request_log(other)].count("/v1/completions") == 1
    assert chats(other, text) == []
    assert (await deployment.items(deployment.alice, conversation))[-1] == ("assistant", uninterrupted, "completed")

    for gateway in (1, 2):
        await answered(deployment, "[[text=yes]] while it is away", conversation, gateway)
    assert len(chats(other, "[[text=yes]] while it is away")) == 2
    await start(home)
    while not chats(home, "[[text=yes]] back"):
        await answered(deployment, "[[text=yes]] back", conversation)


async def test_a_stop_frees_only_the_engine_that_runs_the_answer(deployment: Deployment) -> None:
    stopped, other_text = "[[tokens=3000 pace=0.02]] stopped", "[[tokens=3000 pace=0.02]] goes on"
    async with deployment.socket(deployment.alice) as one, deployment.socket(deployment.alice) as two:
        running = asyncio.create_task(ask(one, stopped, conversation=await deployment.conversation(deployment.alice)))
        going_on = asyncio.create_task(
            ask(two, other_text, conversation=await deployment.conversation(deployment.alice))
        )
        home, _ = await engines_of(deployment, stopped)
        other, _ = await engines_of(deployment, other_text)
        (asked,) = chats(home, stopped)
        async with deployment.client(deployment.alice) as client:
            await client.responses.cancel(asked["headers"]["x-request-id"].rpartition("-")[0])
            assert (await running)[-1]["type"] == "response.incomplete"
            await until(lambda: chats(home, stopped)[0]["state"] == "abandoned")
            (asked,) = chats(other, other_text)
            assert asked["state"] == "running"
            await client.responses.cancel(asked["headers"]["x-request-id"].rpartition("-")[0])
        await going_on


async def test_an_unstored_answer_moves_to_the_other_engine_too(deployment: Deployment) -> None:
    text = f"{LONG} unstored"
    async with deployment.socket(deployment.bob) as socket:
        uninterrupted = text_of(await ask(socket, text, store=False))
        for engine in engines(deployment):
            httpx2.delete(f"http://127.0.0.1:{engine.command.port}/requests")
        answering = asyncio.create_task(ask(socket, text, store=False))
        home, _ = await engines_of(deployment, text)
        await run_sync(home.kill)
        assert text_of(await answering) == uninterrupted
    await start(home)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_users_chat_completions_have_a_preferred_engine_and_a_fallback(
    deployment: Deployment, stream: bool
) -> None:
    said: list[ChatCompletionMessageParam] = [{"role": "user", "content": f"[[text=yes]] stream {stream}"}]

    async def complete() -> str:
        async with deployment.client(deployment.bob) as client:
            answer: Any = await client.chat.completions.create(model=MODEL, messages=said, stream=stream)
            if not stream:
                return str(answer.choices[0].message.content)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in answer])

    assert [await complete() for _ in range(3)] == ["yes"] * 3
    text = str(said[0]["content"])
    home, other = sorted(engines(deployment), key=lambda engine: len(chats(engine, text)), reverse=True)
    assert len(chats(home, text)) >= 2  # one came back only a moment ago
    await run_sync(home.kill)
    before = len(chats(other, text))
    assert [await complete() for _ in range(3)] == ["yes"] * 3
    assert len(chats(other, text)) == before + 3
    await start(home)


async def test_an_unstreamed_answer_is_requested_again_when_its_engine_dies(deployment: Deployment) -> None:
    text = f"{LONG} not streamed"
    async with deployment.client(deployment.bob) as client:
        asking = asyncio.create_task(
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}])
        )
        home, other = await engines_of(deployment, text)
        await run_sync(home.kill)
        assert (await asking).choices[0].finish_reason == "stop"
        assert len(chats(other, text)) == 1
    await start(home)


async def test_without_an_engine_an_answer_waits_for_the_first_that_recovers(deployment: Deployment) -> None:
    text = f"{LONG} both die"
    uninterrupted = text_of(await answered(deployment, text, await deployment.conversation(deployment.alice)))
    for engine in engines(deployment):
        httpx2.delete(f"http://127.0.0.1:{engine.command.port}/requests")
    conversation = await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice) as socket:
        answering = asyncio.create_task(ask(socket, text, conversation=conversation))
        home, other = await engines_of(deployment, text)
        await run_sync(other.kill)
        await run_sync(home.kill)
        await start(other)
        events = await answering
    assert events[-1]["type"] == "response.completed"
    assert text_of(events) == uninterrupted
    await start(home)
