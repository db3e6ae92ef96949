"""Clients that leave in the middle: what is stored goes on without them, what is not is stopped."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import httpx2
import pytest

from tests.contract.conformance import Wire
from tests.stack.conftest import House, begun
from tests.stack.strict_client import MODEL, http

SOME = "[[tokens=60 pace=0.01]]"
ENDLESS = "[[tokens=3000 pace=0.01]]"

Leave = Callable[[House, Wire], Awaitable[None]]


async def from_a_stream(house: House, body: Wire) -> None:
    async with http(house) as api, api.stream("POST", "/responses", json={**body, "stream": True}) as answer:
        async for line in answer.aiter_lines():
            if line == "event: response.output_text.delta":
                return


async def from_a_whole_answer(house: House, body: Wire) -> None:
    async with http(house) as api:
        asked = asyncio.create_task(api.post("/responses", json=body))
        await begun(house, body["input"])
        asked.cancel()
        with suppress(asyncio.CancelledError):
            await asked


async def from_a_socket(house: House, body: Wire) -> None:
    async with house.socket(house.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", **body}))
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass


async def ended(house: House, text: str) -> Wire:
    """What the engine says of it."""
    while (asked := house.at_the_engine(text))["state"] == "running":
        await asyncio.sleep(0.02)
    return asked


everywhere = pytest.mark.parametrize("leave", [from_a_stream, from_a_whole_answer, from_a_socket])


@everywhere
async def test_a_stored_answer_goes_on_to_its_end_and_is_there_later(house: House, leave: Leave) -> None:
    mine, question = await house.conversation(house.alice), f"{SOME} while you leave {leave.__name__}"
    await leave(house, {"model": MODEL, "input": question, "conversation": mine})
    while len(items := await house.items(house.alice, mine)) < 2:
        await asyncio.sleep(0.02)
    assert items[1][2] == "completed"
    told = await ended(house, question)
    assert (told["state"], told["tokens"]) == ("finished", 60)


async def test_a_stored_answer_is_fetched_by_its_id(house: House) -> None:
    async with house.socket(house.alice) as socket:
        await socket.send(json.dumps({"type": "response.create", "model": MODEL, "input": SOME}))
        created = json.loads(await socket.recv())["response"]
    async with http(house) as api:
        answer: httpx2.Response = await api.get(f"/responses/{created['id']}", params={"stream": "true"})
        whole = (await api.get(f"/responses/{created['id']}")).json()
    assert answer.text.endswith("data: [DONE]\n\n")
    assert (whole["status"], whole["usage"]["output_tokens"]) == ("completed", 60)


@everywhere
async def test_an_answer_that_is_not_stored_is_stopped_at_the_engine(house: House, leave: Leave) -> None:
    question = f"{ENDLESS} for nobody {leave.__name__}"
    await leave(house, {"model": MODEL, "input": question, "store": False})
    told = await ended(house, question)
    assert told["state"] == "abandoned"
    assert told["tokens"] < 3000


async def test_who_follows_a_stored_answer_may_leave_without_stopping_it(house: House) -> None:
    question = f"{SOME} with two readers"
    async with house.socket(house.alice) as socket, http(house) as api:
        await socket.send(json.dumps({"type": "response.create", "model": MODEL, "input": question}))
        response_id = json.loads(await socket.recv())["response"]["id"]
        async with api.stream("GET", f"/responses/{response_id}", params={"stream": "true"}) as follower:
            async for line in follower.aiter_lines():
                if line == "event: response.output_text.delta":
                    break
        while (last := json.loads(await socket.recv()))["type"] != "response.completed":
            pass
    assert last["response"]["usage"]["output_tokens"] == 60
