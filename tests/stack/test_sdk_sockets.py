"""Answers over a WebSocket with the stock OpenAI Python SDK, as its users write it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from anyio.to_thread import run_sync
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import ResponsesServerEvent
from openai.types.websocket_reconnection import ReconnectingEvent, ReconnectingOverrides

from tests.stack.breaking_proxy import BreakingProxy
from tests.stack.conftest import Deployment
from tests.stack.strict_client import MODEL

ENDINGS = {"response.completed", "response.incomplete", "response.failed", "error"}
LONG = "[[tokens=120 pace=0.004]]"
# After the handshake, response.created and response.in_progress, which are 1.3 kB each, inside a delta.
AMONG_THE_DELTAS_BYTES = 6_000


@pytest.fixture
def client(deployment: Deployment) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice, max_retries=0) as client:
        yield client


@pytest.fixture
async def alice(deployment: Deployment) -> AsyncIterator[AsyncOpenAI]:
    async with deployment.client(deployment.alice) as client:
        yield client


def answer(connection: Any) -> list[ResponsesServerEvent]:
    events = []
    for event in connection:
        events.append(event)
        if event.type in ENDINGS:
            break
    return events


async def answered(connection: Any) -> list[ResponsesServerEvent]:
    events = []
    async for event in connection:
        events.append(event)
        if event.type in ENDINGS:
            break
    return events


def text_of(events: list[ResponsesServerEvent]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


class Resume:
    """A user's handler for a broken connection: it resumes after the last event."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.codes: list[int] = []

    def __call__(self, event: ReconnectingEvent) -> ReconnectingOverrides:
        self.codes.append(event.close_code)
        response_id, last = self.seen[0].response.id, self.seen[-1].sequence_number
        return {"extra_query": {"resume": response_id, "starting_after": str(last)}}

    def check(self, proxy: BreakingProxy) -> None:
        """The text is complete, no event came twice, and the connection broke."""
        assert (proxy.connections, self.codes) == (2, [1006])
        assert [event.sequence_number for event in self.seen] == list(range(len(self.seen)))
        assert self.seen[-1].type == "response.completed"
        assert text_of(self.seen) == self.seen[-1].response.output_text != ""


async def test_a_broken_connection_is_resumed_by_the_asynchronous_client(deployment: Deployment) -> None:
    resume = Resume()
    async with (
        BreakingProxy(deployment.stack.port, breaks_after_bytes=AMONG_THE_DELTAS_BYTES) as proxy,
        AsyncOpenAI(base_url=f"{proxy.url}/v1", api_key=deployment.alice) as client,
        client.responses.connect(on_reconnecting=resume, initial_delay=0.01) as connection,
    ):
        await connection.response.create(model=MODEL, input=LONG)
        async for event in connection:
            resume.seen.append(event)
            if event.type in ENDINGS:
                break
        resume.check(proxy)
        await connection.response.create(model=MODEL, input="[[text=and on]]")
        assert text_of(await answered(connection)) == "and on"


async def test_a_broken_connection_is_resumed_by_the_synchronous_client(deployment: Deployment) -> None:
    resume = Resume()

    def ask(url: str) -> None:
        with (
            OpenAI(base_url=f"{url}/v1", api_key=deployment.alice) as client,
            client.responses.connect(on_reconnecting=resume, initial_delay=0.01) as connection,
        ):
            connection.response.create(model=MODEL, input=LONG)
            for event in connection:
                resume.seen.append(event)
                if event.type in ENDINGS:
                    break

    async with BreakingProxy(deployment.stack.port, breaks_after_bytes=AMONG_THE_DELTAS_BYTES) as proxy:
        await run_sync(ask, proxy.url)
        resume.check(proxy)


def test_several_requests_are_answered_in_order_each_with_its_stream_id(client: OpenAI) -> None:
    with client.responses.connect() as connection:
        for name in ("one", "two", "three"):
            connection.response.create(model=MODEL, input=f"[[text={name}]]", stream_id=name)
        for name in ("one", "two", "three"):
            events = answer(connection)
            assert {event.stream_id for event in events} == {name}
            assert text_of(events) == name


async def test_requests_beyond_the_queue_are_refused_with_their_stream_id(alice: AsyncOpenAI) -> None:
    async with alice.responses.connect() as connection:
        await connection.response.create(model=MODEL, input="[[tokens=2 first=1]]", stream_id="first")
        assert (await connection.recv()).type == "response.created"
        for number in range(9):
            await connection.response.create(model=MODEL, input="[[text=in time]]", stream_id=f"n{number}")
        ended: dict[str, str] = {}
        while len(ended) < 10:
            last = (await answered(connection))[-1]
            ended[last.stream_id or ""] = (last.error.code or "") if last.type == "error" else last.type
    assert ended.pop("n8") == "too_many_requests"
    assert set(ended.values()) == {"response.completed"}


def test_an_unstored_answer_is_continued_on_its_own_connection(client: OpenAI, deployment: Deployment) -> None:
    with client.responses.connect() as connection:
        connection.response.create(model=MODEL, input="[[text=noted]] The word is juniper.", store=False)
        first = answer(connection)[-1].response  # type: ignore[union-attr]
        connection.response.create(model=MODEL, input="Which?", store=False, previous_response_id=first.id)
        assert answer(connection)[-1].type == "response.completed"
    assert [one["content"] for one in deployment.prompts()[-1]][1:] == [
        "[[text=noted]] The word is juniper.",
        "noted",
        "Which?",
    ]
    with client.responses.connect() as another:
        another.response.create(model=MODEL, input="Which?", store=False, previous_response_id=first.id)
        (refused,) = answer(another)
    assert refused.error.code == "previous_response_not_found"  # type: ignore[union-attr]


async def test_a_stored_answer_is_continued_on_any_connection(alice: AsyncOpenAI, deployment: Deployment) -> None:
    ids: list[str | None] = [None]
    for question in ("[[text=noted]] The word is tamarind.", "Which?"):
        async with alice.responses.connect() as connection:
            await connection.response.create(model=MODEL, input=question, previous_response_id=ids[-1])
            ids.append((await answered(connection))[-1].response.id)  # type: ignore[union-attr]
    assert [one["content"] for one in deployment.prompts()[-1]][2:] == ["noted", "Which?"]


async def test_a_warm_up_is_an_empty_answer_that_can_be_continued(alice: AsyncOpenAI) -> None:
    async with alice.responses.connect() as connection:
        await connection.response.create(model=MODEL, input="The word is quince.", generate=False)
        warm = (await answered(connection))[-1].response  # type: ignore[union-attr]
        assert (warm.status, warm.output) == ("completed", [])
        await connection.response.create(model=MODEL, input="[[text=quince]]", previous_response_id=warm.id)
        assert text_of(await answered(connection)) == "quince"


async def test_an_answer_on_a_connection_is_stopped_over_http(alice: AsyncOpenAI) -> None:
    async with alice.responses.connect() as connection:
        await connection.response.create(model=MODEL, input="[[tokens=3000 pace=0.01]]")
        created = await connection.recv()
        while (await connection.recv()).type != "response.output_text.delta":
            pass
        stopped = await alice.responses.cancel(created.response.id)  # type: ignore[union-attr]
        last = (await answered(connection))[-1]
    assert (last.type, stopped.status) == ("response.incomplete", "incomplete")
    assert last.response == stopped  # type: ignore[union-attr]


async def test_an_unknown_answer_cannot_be_resumed(alice: AsyncOpenAI) -> None:
    async with alice.responses.connect(extra_query={"resume": "resp_" + "0" * 32}) as connection:
        refused = await connection.recv()
        assert (refused.type, refused.error.code) == ("error", "not_found")  # type: ignore[union-attr]
        await connection.response.create(model=MODEL, input="[[text=hello]]")
        assert text_of(await answered(connection)) == "hello"


async def test_steering_is_refused_and_the_connection_stays_open(alice: AsyncOpenAI) -> None:
    async with alice.responses.connect() as connection:
        await connection.response.steer(
            input=[{"type": "message", "role": "user", "content": "faster"}], previous_response_id="resp_x"
        )
        refused = await connection.recv()
        assert (refused.type, refused.error.code) == ("error", "unsupported")  # type: ignore[union-attr]
        await connection.response.create(model=MODEL, input="[[text=hello]]")
        assert text_of(await answered(connection)) == "hello"
