"""An interrupted answer ends like an uninterrupted one: the same text, ending and usage."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from anyio.to_thread import run_sync

from dev.process import Process
from dev.stack import Plan, Stack
from engines.scripted.tokenizer import encode_literally
from tests.chaos.questions import DEMO_MODEL_PROMPTS
from tests.stack.conftest import Deployment, ask, create_users, receive_all, text_of

Event = dict[str, Any]

# Characters of one to four bytes, graphemes of up to seven characters: a family, a flag, a letter with its accent.
TEXT = "家👩‍👩‍👧‍👦和🏳️‍🌈，naïve e\u0301, 你好👍🏽。"
TOKENS = len(encode_literally(TEXT))
_LIMIT = TOKENS - 7
# The first character: an answer without any shown text starts again, and stalls again.
_FIRST = len(encode_literally(TEXT[0]))
_TORN = "\ufffd"


@dataclass(frozen=True)
class Ending:
    """`spent` is input and output tokens."""

    text: str
    status: str
    reason: str | None
    spent: tuple[int, int]


def ending(events: list[Event]) -> Ending:
    last = events[-1]["response"]
    usage, why = last["usage"], last["incomplete_details"]
    spent = (usage["input_tokens"], usage["output_tokens"])
    assert last["output"][0]["content"][0]["text"] == text_of(events)
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    return Ending(text_of(events), last["status"], why and why["reason"], spent)


async def usage(deployment: Deployment) -> tuple[int, int, int]:
    """Alice's usage today: requests, input tokens and output tokens."""
    async with deployment.client(deployment.alice) as client:
        page = await client.get("/usage", cast_to=httpx2.Response, options={"params": {"days": 1}})
    (today,) = page.json()["data"]
    return today["requests"], today["input_tokens"], today["output_tokens"]


async def usage_since(before: tuple[int, int, int], deployment: Deployment, requests: int) -> tuple[int, ...]:
    """Waits until `requests` more requests are accounted, because accounting may follow the answer."""
    while (now := await usage(deployment))[0] < before[0] + requests:
        await asyncio.sleep(0.02)
    return tuple(b - a for a, b in zip(before, now, strict=True))


def stalling_request(after: int, limit: int | None) -> dict[str, Any]:
    """The engine generates `after` tokens and then stalls. Leading zeros give every prompt the same length."""
    return {"input": f"[[pace=0.002 stall=after:{after:03},for:60 text={TEXT}]]", "max_output_tokens": limit}


async def stalled(deployment: Deployment, limit: int | None) -> list[str]:
    """The ids of answers at replica 1, one stalled after each token from the first character on."""
    url = f"http://127.0.0.1:{deployment.stack.gateway(1).command.port}/v1/responses"
    made: dict[str, int] = {}
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {deployment.alice}"}) as api:
        for after in range(_FIRST, limit or TOKENS):
            answer = await api.post(url, json={**stalling_request(after, limit), "background": True})
            made[f"{answer.json()['id']}-1"] = after
    while made.items() - engine_request(deployment).items():
        await asyncio.sleep(0.05)
    return [one.removesuffix("-1") for one in made]


def engine_request(deployment: Deployment) -> dict[str, int]:
    """The number of generated tokens by request id."""
    requests = httpx2.get(f"{deployment.stack.engine_url.removesuffix('/v1')}/requests").json()["data"]
    return {one["headers"].get("x-request-id", ""): one["tokens"] for one in requests}


async def restart(process: Process) -> None:
    process.start()
    await run_sync(process.wait_ready)


async def kill_owner(deployment: Deployment) -> None:
    await run_sync(deployment.stack.gateway(1).kill)


async def kill_engine(deployment: Deployment) -> None:
    await run_sync(deployment.stack.engine().kill)
    await restart(deployment.stack.engine())


Fault = Callable[[Deployment], Awaitable[None]]
faults = pytest.mark.parametrize("fault", [kill_owner, kill_engine])


@pytest.fixture(scope="module", params=["scripted", pytest.param("vllm", marks=pytest.mark.vllm)])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    engine = "scripted" if request.param == "scripted" else f"{request.getfixturevalue('vllm_url')}/v1"
    settings = {"GATEWAY_TITLES": "off", "GATEWAY_SOCKETS_PER_USER": "256", "GATEWAY_ANSWERS_PER_USER": "256"}
    with Stack(Plan(tmp_path_factory.mktemp("takeovers"), engine=engine, gateway=settings)) as stack:
        yield create_users(stack)


@pytest.fixture(autouse=True)
async def restored(deployment: Deployment) -> AsyncGenerator[None]:
    """Restores the stack even if the test fails."""
    yield
    for process in deployment.stack.processes.values():
        if not process.running:
            await restart(process)


@faults
@pytest.mark.parametrize("limit", [None, _LIMIT])
@pytest.mark.parametrize("deployment", ["scripted"], indirect=True)
async def test_an_answer_interrupted_after_any_token_ends_like_an_uninterrupted_one(
    deployment: Deployment, fault: Fault, limit: int | None
) -> None:
    async with deployment.socket(deployment.alice, gateway=2) as socket:
        body = stalling_request(0, limit) | {"input": f"[[pace=0.002 stall=after:000,for:00 text={TEXT}]]"}
        uninterrupted = ending(await ask(socket, body.pop("input"), **body))
    before = await usage(deployment)
    ids = await stalled(deployment, limit)
    await fault(deployment)
    endings = await asyncio.gather(*(followed(deployment, one) for one in ids))
    assert endings == [uninterrupted] * len(ids)
    wanted = (len(ids), *(len(ids) * number for number in uninterrupted.spent))
    assert await usage_since(before, deployment, len(ids)) == wanted


@pytest.mark.vllm
@pytest.mark.parametrize("deployment", ["vllm"], indirect=True)
@pytest.mark.parametrize("question", DEMO_MODEL_PROMPTS, ids=["Chinese", "English"])
async def test_real_vllm_counts_a_taken_over_answer_like_an_uninterrupted_one(
    deployment: Deployment, question: str
) -> None:
    async with deployment.socket(deployment.alice, gateway=2) as socket:
        uninterrupted = ending(await ask(socket, question, temperature=0))
    before = await usage(deployment)
    async with deployment.socket(deployment.alice, gateway=1) as socket:
        await socket.send(json.dumps({"type": "response.create", "input": question, "temperature": 0}))
        response_id = json.loads(await socket.recv())["response"]["id"]
        while json.loads(await socket.recv())["type"] != "response.output_text.delta":
            pass
        deployment.stack.gateway(1).kill()
    assert await followed(deployment, response_id) == uninterrupted
    assert await usage_since(before, deployment, 1) == (1, *uninterrupted.spent)
    taken = [line for line in deployment.stack.gateway(2).log.read_text().splitlines() if "turn taken over" in line]
    assert response_id in taken[-1]


async def followed(deployment: Deployment, response_id: str) -> Ending:
    async with deployment.socket(deployment.alice, gateway=2, query=f"resume={response_id}") as socket:
        events = await receive_all(socket)
    assert [one for one in events if _TORN in json.dumps(one, ensure_ascii=False)] == []
    return ending(events)
