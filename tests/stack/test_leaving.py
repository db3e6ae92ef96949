"""Clients that disconnect during an answer: a stored answer continues without them, an unstored one is stopped."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx2
import pytest

from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment, wait_until_generating
from tests.stack.strict_client import MODEL, http

SOME = "[[tokens=60 pace=0.01]]"
ENDLESS = "[[tokens=3000 pace=0.01]]"

Leave = Callable[[Deployment, Wire], Awaitable[None]]


async def leave_a_stream(deployment: Deployment, body: Wire) -> None:
    async with http(deployment) as api, api.stream("POST", "/responses", json={**body, "stream": True}) as answer:
        async for line in answer.aiter_lines():
            if line == "event: response.output_text.delta":
                return


async def leave_a_request(deployment: Deployment, body: Wire) -> None:
    async with http(deployment) as api:
        asked = asyncio.create_task(api.post("/responses", json=body))
        await wait_until_generating(deployment, body["input"])
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked


async def leave_a_socket(deployment: Deployment, body: Wire) -> None:
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", **body}))
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass


async def wait_until_ended(deployment: Deployment, text: str) -> Wire:
    """The engine's request, once it has ended."""
    while (asked := deployment.engine_request(text))["state"] == "running":
        await asyncio.sleep(0.02)
    return asked


everywhere = pytest.mark.parametrize("leave", [leave_a_stream, leave_a_request, leave_a_socket])


@everywhere
async def test_a_stored_answer_completes_without_its_client(deployment: Deployment, leave: Leave) -> None:
    mine, question = await deployment.conversation(deployment.alice), f"{SOME} while you leave {leave.__name__}"
    await leave(deployment, {"model": MODEL, "input": question, "conversation": mine})
    while len(items := await deployment.items(deployment.alice, mine)) < 2:
        await asyncio.sleep(0.02)
    assert items[1][2] == "completed"
    request = await wait_until_ended(deployment, question)
    assert (request["state"], request["tokens"]) == ("finished", 60)


async def test_a_stored_answer_is_fetched_by_its_id(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "model": MODEL, "input": SOME}))
        created = json.loads(await socket.recv())["response"]
    async with http(deployment) as api:
        answer: httpx2.Response = await api.get(f"/responses/{created['id']}", params={"stream": "true"})
        whole = (await api.get(f"/responses/{created['id']}")).json()
    assert answer.text.endswith("data: [DONE]\n\n")
    assert (whole["status"], whole["usage"]["output_tokens"]) == ("completed", 60)


@everywhere
async def test_an_answer_that_is_not_stored_is_stopped_at_the_engine(deployment: Deployment, leave: Leave) -> None:
    question = f"{ENDLESS} for nobody {leave.__name__}"
    await leave(deployment, {"model": MODEL, "input": question, "store": False})
    request = await wait_until_ended(deployment, question)
    assert request["state"] == "abandoned"
    assert request["tokens"] < 3000


async def test_a_follower_that_disconnects_does_not_stop_a_stored_answer(deployment: Deployment) -> None:
    question = f"{SOME} with two readers"
    async with deployment.socket(deployment.alice) as socket, http(deployment) as api:
        await socket.send(json.dumps({"type": "response.create", "model": MODEL, "input": question}))
        response_id = json.loads(await socket.recv())["response"]["id"]
        async with api.stream("GET", f"/responses/{response_id}", params={"stream": "true"}) as follower:
            async for line in follower.aiter_lines():
                if line == "event: response.output_text.delta":
                    break
        while (last := json.loads(await socket.recv()))["type"] != "response.completed":
            pass
    assert last["response"]["usage"]["output_tokens"] == 60
