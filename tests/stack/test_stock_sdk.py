"""The stock OpenAI Python SDK, as its users write it, through nginx."""

import asyncio

import httpx2
import pytest
from openai import APIStatusError, AsyncOpenAI, OpenAI

from tests.stack.accounts import create_accounts
from tests.stack.conftest import PASSWORD, Deployment

ENDINGS = {"response.completed", "response.incomplete", "response.failed", "error"}


def test_the_second_turn_of_a_conversation_has_the_first_in_its_prompt(deployment: Deployment) -> None:
    client = OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice)
    conversation = client.conversations.create(metadata={"title": "lighthouses"})
    answers = []
    with client.responses.connect() as connection:
        for question in ("tell me of the lighthouse at Alexandria", "and how tall was it?"):
            connection.response.create(model="parley-demo", conversation=conversation.id, input=question)
            events = []
            for event in connection:
                events.append(event)
                if event.type in ENDINGS:
                    break
            assert events[-1].type == "response.completed"
            answers.append(events[-1].response.output_text)
            deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
            assert "".join(deltas) == answers[-1] != ""
    assert [(one["role"], one["content"]) for one in deployment.prompts()[-1]] == [
        ("system", "你是一位得力的助手。"),
        ("user", "tell me of the lighthouse at Alexandria"),
        ("assistant", answers[0]),
        ("user", "and how tall was it?"),
    ]
    items = [item.to_dict() for item in client.conversations.items.list(conversation.id, order="asc")]
    assert [item["role"] for item in items] == ["user", "assistant", "user", "assistant"]
    assert [item["content"][0]["text"] for item in items[1::2]] == answers  # type: ignore[index]


async def test_the_asynchronous_client_gets_gapless_sequence_numbers(deployment: Deployment) -> None:
    async with deployment.client(deployment.alice) as client, client.responses.connect() as connection:
        await connection.response.create(model="parley-demo", input="hello")
        numbers = []
        async for event in connection:
            numbers.append(event.sequence_number)
            if event.type in ENDINGS:
                break
    assert numbers == list(range(len(numbers)))


async def test_a_wrong_model_is_an_error_event_and_the_socket_stays_open(deployment: Deployment) -> None:
    async with deployment.client(deployment.alice) as client, client.responses.connect() as connection:
        await connection.response.create(model="gpt-9", input="hello")
        refused = await connection.recv()
        assert refused.type == "error"
        await connection.response.create(model="parley-demo", input="hello")
        assert (await connection.recv()).type == "response.created"


async def test_a_conversation_can_be_created_with_items(deployment: Deployment) -> None:
    items = [{"type": "message", "role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    async with deployment.client(deployment.alice) as client:
        made = await client.conversations.create(items=items)  # type: ignore[arg-type]
    found = await deployment.items(deployment.alice, made.id)
    assert [(role, text) for role, text, _ in found] == [("user", "hi"), ("assistant", "hello")]


async def test_hundreds_of_concurrent_requests_are_all_answered(deployment: Deployment) -> None:
    names = [f"one-of-eight-{number}" for number in range(8)]
    keys = create_accounts(deployment.stack, dict.fromkeys(names, PASSWORD), keys=names)
    port = deployment.stack.gateway(1).command.port  # past nginx, which limits an address
    limits = httpx2.Limits(max_connections=400)
    async with httpx2.AsyncClient(limits=limits, timeout=30) as client:
        url, headers = f"http://127.0.0.1:{port}/v1/conversations", [{"Authorization": f"Bearer {key}"} for key in keys]
        answers = await asyncio.gather(*(client.get(url, headers=one) for _ in range(50) for one in headers))
    assert {answer.status_code for answer in answers} == {200}


async def test_a_users_requests_above_the_limit_are_refused_by_its_name(deployment: Deployment) -> None:
    headers = {"Authorization": f"Bearer {deployment.alice}"}
    port = deployment.stack.gateway(1).command.port
    async with httpx2.AsyncClient(headers=headers, limits=httpx2.Limits(max_connections=400), timeout=30) as client:
        url = f"http://127.0.0.1:{port}/v1/conversations"
        answers = await asyncio.gather(*(client.get(url) for _ in range(400)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert refused
        assert {(one.status_code, one.json()["error"]["code"]) for one in refused} == {(429, "too_many_requests")}
        assert all("64 requests are already in progress" in one.text for one in refused)
        assert (await client.get(url)).status_code == 200


async def test_a_foreign_conversation_is_not_found(deployment: Deployment) -> None:
    async with deployment.client(deployment.alice) as alice, deployment.client(deployment.bob) as bob:
        alice_api = await alice.conversations.create()
        for request in (bob.conversations.retrieve(alice_api.id), bob.conversations.retrieve("conv_" + "0" * 32)):
            with pytest.raises(APIStatusError) as caught:
                await request
            assert caught.value.status_code == 404
            assert caught.value.body == {
                "type": "not_found", "code": "not_found", "message": "no such conversation", "param": "conversation_id"
            }  # fmt: skip


async def test_a_wrong_key_is_refused_at_the_handshake(deployment: Deployment) -> None:
    async with AsyncOpenAI(base_url=f"{deployment.stack.url}/v1", api_key="pk_wrong", max_retries=0) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.conversations.create()
        assert caught.value.status_code == 401
