"""Answers over HTTP with the stock OpenAI Python SDK, as its users write it: whole, streamed, in the background."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest
from anyio.to_thread import run_sync
from openai import APIConnectionError, AsyncOpenAI, NotFoundError, OpenAI

from tests.stack.breaking_proxy import BreakingProxy
from tests.stack.conftest import Deployment, wait_until_generating
from tests.stack.strict_client import MODEL

TALE = "[[text=很久以前，海边有一座灯塔。]]"
LONG = "[[tokens=120 pace=0.004]]"
ENDLESS = "[[tokens=3000 pace=0.01]]"
# After the response's head and its first two events, inside a delta.
AMONG_THE_DELTAS_BYTES = 6_000


@pytest.fixture
def client(deployment: Deployment) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice, max_retries=0) as client:
        yield client


@pytest.fixture
async def alice(deployment: Deployment) -> AsyncIterator[AsyncOpenAI]:
    async with deployment.client(deployment.alice) as client:
        yield client


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def numbers_of(events: list[Any]) -> list[int]:
    return [event.sequence_number for event in events]


def test_a_whole_answer(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input=TALE)
    assert (answer.status, answer.output_text) == ("completed", "很久以前，海边有一座灯塔。")
    assert client.responses.retrieve(answer.id) == answer
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.usage.input_tokens_details.cached_tokens >= 0
    assert answer.usage.output_tokens_details.reasoning_tokens == 0


async def test_a_whole_answer_asynchronously(alice: AsyncOpenAI) -> None:
    answer = await alice.responses.create(model=MODEL, input=TALE)
    assert (answer.status, answer.output_text) == ("completed", "很久以前，海边有一座灯塔。")
    assert await alice.responses.retrieve(answer.id) == answer


def test_a_streamed_answer(client: OpenAI) -> None:
    with client.responses.create(model=MODEL, input=TALE, stream=True) as stream:
        events = list(stream)
    assert numbers_of(events) == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert text_of(events) == last.response.output_text == "很久以前，海边有一座灯塔。"


async def test_a_streamed_answer_asynchronously(alice: AsyncOpenAI) -> None:
    async with await alice.responses.create(model=MODEL, input=TALE, stream=True, store=False) as stream:
        events = [event async for event in stream]
    assert numbers_of(events) == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert text_of(events) == "很久以前，海边有一座灯塔。"


def test_the_stream_helper_assembles_the_answer(client: OpenAI) -> None:
    with client.responses.stream(model=MODEL, input=TALE) as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots[-1] == final.output_text == "很久以前，海边有一座灯塔。"
    with client.responses.stream(response_id=final.id, starting_after=3) as stream:
        again = list(stream)
        assert stream.get_final_response().output_text == final.output_text
    assert numbers_of(again) == list(range(4, 4 + len(again)))


async def test_the_stream_helper_assembles_the_answer_asynchronously(alice: AsyncOpenAI) -> None:
    async with alice.responses.stream(model=MODEL, input=TALE) as stream:
        snapshots = [event.snapshot async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert snapshots[-1] == final.output_text == "很久以前，海边有一座灯塔。"


def test_a_background_answer_is_polled_until_it_is_complete(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input=LONG, background=True)
    assert (answer.status, answer.background, answer.output_text) == ("in_progress", True, "")
    while answer.status in {"queued", "in_progress"}:
        answer = client.responses.retrieve(answer.id)
    assert answer.status == "completed"
    assert answer.output_text.startswith("1. ")


async def test_a_background_answer_is_streamed_from_any_event(alice: AsyncOpenAI) -> None:
    answer = await alice.responses.create(model=MODEL, input=LONG, background=True)
    async with await alice.responses.retrieve(answer.id, stream=True) as stream:
        events = [event async for event in stream]
    assert numbers_of(events) == list(range(len(events)))
    async with await alice.responses.retrieve(answer.id, stream=True, starting_after=9) as stream:
        assert [event async for event in stream] == events[10:]
    assert (await alice.responses.retrieve(answer.id)).output_text == text_of(events)


def test_a_background_stream_is_resumed_by_its_reader(client: OpenAI) -> None:
    events = []
    with client.responses.create(model=MODEL, input=LONG, background=True, stream=True) as stream:
        for event in stream:
            events.append(event)
            if event.type == "response.output_text.delta":
                break
    response_id = events[0].response.id  # type: ignore[union-attr]
    last = events[-1].sequence_number
    with client.responses.retrieve(response_id, stream=True, starting_after=last) as stream:
        events += stream
    assert numbers_of(events) == list(range(len(events)))
    assert text_of(events) == client.responses.retrieve(response_id).output_text


async def test_a_broken_stream_is_resumed(deployment: Deployment, alice: AsyncOpenAI) -> None:
    events: list[Any] = []
    async with (
        BreakingProxy(deployment.stack.port, breaks_after_bytes=AMONG_THE_DELTAS_BYTES) as proxy,
        AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=deployment.alice) as client,
    ):
        stream = await client.responses.create(model=MODEL, input=LONG, stream=True)
        with suppress(APIConnectionError):
            async for event in stream:
                events.append(event)  # noqa: PERF401 - what came before it broke counts
    assert events[-1].type == "response.output_text.delta"
    response_id, last = events[0].response.id, events[-1].sequence_number
    async with await alice.responses.retrieve(response_id, stream=True, starting_after=last) as rest:
        events += [event async for event in rest]
    assert numbers_of(events) == list(range(len(events)))
    assert text_of(events) == events[-1].response.output_text


async def test_a_broken_stream_is_resumed_by_the_synchronous_client(deployment: Deployment, client: OpenAI) -> None:
    def ask(url: str) -> list[Any]:
        events: list[Any] = []
        with OpenAI(base_url=f"{url}/v1", api_key=deployment.alice) as broken, suppress(APIConnectionError):
            for event in broken.responses.create(model=MODEL, input=LONG, stream=True):
                events.append(event)  # noqa: PERF402 - what came before it broke counts
        assert events[-1].type == "response.output_text.delta"
        response_id, last = events[0].response.id, events[-1].sequence_number
        return [*events, *client.responses.retrieve(response_id, stream=True, starting_after=last)]

    async with BreakingProxy(deployment.stack.port, breaks_after_bytes=AMONG_THE_DELTAS_BYTES) as proxy:
        events = await run_sync(ask, proxy.url)
    assert numbers_of(events) == list(range(len(events)))
    assert text_of(events) == events[-1].response.output_text


def test_stopping_keeps_the_text_and_stopping_again_changes_nothing(client: OpenAI) -> None:
    events = []
    for event in client.responses.create(model=MODEL, input=ENDLESS, stream=True):
        events.append(event)
        if len(events) == 8:
            stopped = client.responses.cancel(events[0].response.id)  # type: ignore[union-attr]
    assert (stopped.status, stopped.incomplete_details and stopped.incomplete_details.reason) == (
        "incomplete",
        "cancelled",
    )
    assert (events[-1].type, text_of(events)) == ("response.incomplete", stopped.output_text)
    assert client.responses.cancel(stopped.id) == client.responses.retrieve(stopped.id) == stopped


async def test_stopping_a_background_answer_asynchronously(alice: AsyncOpenAI) -> None:
    answer = await alice.responses.create(model=MODEL, input=ENDLESS, background=True)
    stopped, again = await asyncio.gather(alice.responses.cancel(answer.id), alice.responses.cancel(answer.id))
    assert stopped.status == "incomplete"
    assert stopped == again == await alice.responses.retrieve(answer.id)


def test_a_finished_answer_is_not_changed_by_stopping_it(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input=TALE)
    assert client.responses.cancel(answer.id) == answer


def test_a_deleted_answer_is_not_found(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input=TALE)
    client.responses.delete(answer.id)
    for request in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
        with pytest.raises(NotFoundError):
            request(answer.id)
    with pytest.raises(NotFoundError):
        client.responses.input_items.list(answer.id)


async def test_deleting_a_running_answer_stops_it(alice: AsyncOpenAI, deployment: Deployment) -> None:
    question = f"{ENDLESS} to be deleted"
    answer = await alice.responses.create(model=MODEL, input=question, background=True)
    await wait_until_generating(deployment, question)
    await alice.responses.delete(answer.id)
    with pytest.raises(NotFoundError):
        await alice.responses.retrieve(answer.id)
    while deployment.engine_request(question)["state"] == "running":
        await asyncio.sleep(0.02)
    assert deployment.engine_request(question)["state"] == "abandoned"


async def test_input_items_are_listed_page_by_page(alice: AsyncOpenAI) -> None:
    asked = [{"role": "user", "content": f"number {number}"} for number in range(5)]
    answer = await alice.responses.create(model=MODEL, input=asked)  # type: ignore[arg-type]

    async def texts(**query: Any) -> list[str]:
        pages = alice.responses.input_items.list(answer.id, **query)
        return [item.to_dict()["content"][0]["text"] async for item in pages]  # type: ignore[index]

    assert await texts(order="asc", limit=2) == [f"number {number}" for number in range(5)]
    assert await texts(limit=2) == [f"number {number}" for number in reversed(range(5))]
