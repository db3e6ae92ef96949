"""Errors as exceptions of the stock OpenAI Python SDK."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from websockets.exceptions import InvalidStatus

from dev.stack import Plan, Stack
from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment, create_users
from tests.stack.strict_client import MODEL

ABSENT = "resp_" + "0" * 32
IMAGE = {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}
MCP = {"type": "mcp", "server_label": "x", "server_url": "https://mcp.example"}

REFUSED: dict[str, tuple[type[openai.APIStatusError], str, str, Wire]] = {
    "a model": (openai.NotFoundError, "model_not_found", "model", {"model": "gpt-9"}),
    "an unknown field": (openai.BadRequestError, "unknown_parameter", "colour", {"extra_body": {"colour": "red"}}),
    "a value": (openai.BadRequestError, "invalid_value", "temperature", {"temperature": 3}),
    "an image": (openai.BadRequestError, "unsupported_content", "input[0].content[0]", {"input": [IMAGE]}),
    "a hosted tool": (openai.BadRequestError, "unsupported_parameter", "tools[0].type", {"tools": [MCP]}),
    "an answer to go on from": (
        openai.BadRequestError,
        "previous_response_not_found",
        "previous_response_id",
        {"previous_response_id": ABSENT},
    ),
    "a conversation": (openai.NotFoundError, "not_found", "conversation", {"conversation": "conv_" + "0" * 32}),
    "nothing said": (openai.BadRequestError, "invalid_request", "input", {"input": " "}),
    "too much said": (openai.BadRequestError, "context_length_exceeded", "input", {"input": "灯" * 9_000}),
    "what the engine fails at": (openai.InternalServerError, "model_error", "", {"input": "[[status=500]]"}),
}


@pytest.fixture
def client(deployment: Deployment) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice, max_retries=0) as client:
        yield client


@pytest.fixture
async def alice(deployment: Deployment) -> AsyncIterator[AsyncOpenAI]:
    async with deployment.client(deployment.alice) as client:
        yield client


@pytest.mark.parametrize(("kind", "code", "param", "asked"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_an_exception_that_names_the_cause(
    client: OpenAI, kind: type[openai.APIStatusError], code: str, param: str, asked: Wire
) -> None:
    with pytest.raises(kind) as caught:
        client.responses.create(**{"model": MODEL, "input": "hi", **asked})
    assert (type(caught.value), caught.value.code, caught.value.param or "") == (kind, code, param)


async def test_a_refusal_comes_before_a_stream_starts(alice: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await alice.responses.create(model=MODEL, input="hi", temperature=3, stream=True)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "temperature")


def test_a_foreign_answer_and_an_unknown_one_get_the_same_error(deployment: Deployment, client: OpenAI) -> None:
    alice_api = client.responses.create(model=MODEL, input="hi")
    with OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.bob, max_retries=0) as bob_api:
        for request in (
            bob_api.responses.retrieve,
            bob_api.responses.cancel,
            bob_api.responses.delete,
            bob_api.responses.input_items.list,
            lambda response_id: bob_api.responses.retrieve(response_id, stream=True),
            lambda response_id: bob_api.responses.create(model=MODEL, input="hi", previous_response_id=response_id),
        ):
            errors = []
            for response_id in (alice_api.id, ABSENT):
                with pytest.raises(openai.APIStatusError) as caught:
                    request(response_id)
                errors.append((caught.value.status_code, caught.value.body))
            assert errors[0] == errors[1]
    assert client.responses.retrieve(alice_api.id) == alice_api


async def test_a_wrong_key_is_an_authentication_error(deployment: Deployment) -> None:
    async with AsyncOpenAI(base_url=f"{deployment.stack.url}/v1", api_key="pk_wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            await stranger.responses.create(model=MODEL, input="hi")
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(InvalidStatus) as refused:
            await stranger.responses.connect().enter()
        assert refused.value.response.status_code == 401


def test_a_failing_stream_raises_its_error_after_its_text(client: OpenAI) -> None:
    events: list[Any] = []
    stream = client.responses.create(model=MODEL, input="[[tokens=60 error=after:5]]", stream=True)
    with pytest.raises(openai.APIError) as caught:
        events.extend(stream)
    assert caught.value.code == "model_error"
    assert events[-1].type != "response.failed"
    kept = client.responses.retrieve(events[0].response.id)
    assert (kept.status, kept.error and kept.error.code) == ("failed", "model_error")
    assert kept.output_text == "".join(event.delta for event in events if event.type == "response.output_text.delta")


async def test_a_failed_background_answer_returns_its_error(alice: AsyncOpenAI) -> None:
    answer = await alice.responses.create(model=MODEL, input="[[tokens=60 error=after:5]]", background=True)
    while answer.status == "in_progress":
        await asyncio.sleep(0.1)
        answer = await alice.responses.retrieve(answer.id)
    assert (answer.status, answer.error and answer.error.code) == ("failed", "model_error")
    assert answer.output_text != ""


async def test_a_failure_on_a_connection_is_an_event_and_the_connection_stays_open(alice: AsyncOpenAI) -> None:
    async with alice.responses.connect() as connection:
        await connection.response.create(model=MODEL, input="[[tokens=60 error=after:5]]")
        types = []
        async for event in connection:
            types.append(event.type)
            if event.type == "error":
                assert event.error.code == "model_error"
            if event.type == "response.failed":
                break
        assert types[-2] == "error"
        await connection.response.create(model=MODEL, input="hello")
        assert (await connection.recv()).type == "response.created"


async def test_an_engine_that_is_busy_for_longer_than_the_patience_is_an_error(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    impatient = {"GATEWAY_ENGINE_PATIENCE_SECONDS": "1"}
    with Stack(Plan(tmp_path_factory.mktemp("impatient"), gateways=1, gateway=impatient)) as stack:
        deployment = create_users(stack)
        async with deployment.client(deployment.alice) as client:
            with pytest.raises(openai.InternalServerError) as caught:
                await client.responses.create(model=MODEL, input="[[status=503]]")
    assert (caught.value.status_code, caught.value.code) == (503, "service_unavailable")
