"""What one user may have at once on one gateway: streams and sockets together, answers, requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx2
import pytest

from tests.stack.conftest import Deployment

LONG = "[[tokens=4000 pace=0.01]]"


@pytest.fixture
async def client(limited_deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"Authorization": f"Bearer {limited_deployment.bob}"}
    async with httpx2.AsyncClient(base_url=limited_deployment.stack.url, headers=headers, timeout=30) as client:
        yield client


async def run_in_background(client: httpx2.AsyncClient) -> httpx2.Response:
    body = {"input": LONG, "background": True, "max_output_tokens": 4000}
    return await client.post("/v1/responses", json=body)


async def stop(client: httpx2.AsyncClient, response_id: str) -> None:
    assert (await client.post(f"/v1/responses/{response_id}/cancel")).status_code == 200


def check_refusal(refused: httpx2.Response, limit: str) -> None:
    assert refused.status_code == 429, refused.text
    assert refused.headers["Retry-After"] == "1"
    assert refused.json()["error"]["code"] == "too_many_requests"
    assert limit in refused.json()["error"]["message"]


async def test_an_answer_beyond_the_users_limit_is_429_until_another_has_ended(client: httpx2.AsyncClient) -> None:
    running = [(await run_in_background(client)).json()["id"] for _ in range(2)]
    check_refusal(await run_in_background(client), "2 answers are already running")
    chat = {"messages": [{"role": "user", "content": "hello"}]}
    check_refusal(await client.post("/v1/chat/completions", json=chat), "2 answers are already running")
    await stop(client, running.pop())
    assert (await client.post("/v1/chat/completions", json=chat)).status_code == 200
    running.append((await run_in_background(client)).json()["id"])
    for response_id in running:
        await stop(client, response_id)


async def test_a_stream_beyond_the_users_limit_of_sockets_and_streams_is_429(
    limited_deployment: Deployment, client: httpx2.AsyncClient
) -> None:
    running = (await run_in_background(client)).json()["id"]
    path = f"/v1/responses/{running}?stream=true"
    async with AsyncExitStack() as open_:
        for _ in range(2):
            assert (await open_.enter_async_context(client.stream("GET", path))).status_code == 200
        socket = await open_.enter_async_context(limited_deployment.socket(limited_deployment.bob))
        await socket.send("{}")
        check_refusal(await client.get(path), "3 sockets and streams are already open")
        body = {"input": "hello", "stream": True}
        check_refusal(await client.post("/v1/responses", json=body), "3 sockets and streams are already open")
    # Each is released once its gateway has noticed that the client has left.
    async with asyncio.timeout(10), AsyncExitStack() as open_:
        for _ in range(3):
            while (await open_.enter_async_context(client.stream("GET", path))).status_code == 429:
                await asyncio.sleep(0.02)
    await stop(client, running)
