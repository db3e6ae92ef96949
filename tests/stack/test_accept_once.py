"""A repeated message is accepted once: one message in history, one answer, one engine run."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect

from dev.stack import Stack
from tests.chaos import environment
from tests.chaos.environment import Environment
from tests.stack.conftest import Deployment

TEXT = "said once 只说一次"
TIMES = 10


@pytest.fixture(scope="module")
async def chaos(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Environment]:
    async with environment.started(tmp_path_factory.mktemp("once"), engine="scripted", pause_seconds=1) as found:
        yield found


@pytest.fixture
async def deployment(chaos: Environment) -> Deployment:
    """Restored after the previous test."""
    await chaos.restore()
    return Deployment(chaos.stack, chaos.key, chaos.key)


def accepts(request: bytes) -> bool:
    """The Redis transaction that accepts a message."""
    return b":once:" in request and b"EXEC" in request


class RepeatingClient:
    """Sends the same question repeatedly, to either gateway."""

    def __init__(self, deployment: Deployment, conversation_id: str) -> None:
        self.prompt = f"[[pace=0.02 text={TEXT} {conversation_id}]]"
        self.conversation_id = conversation_id
        self._stack: Stack = deployment.stack
        self._headers = {"Authorization": f"Bearer {deployment.alice}"}

    def body(self, **fields: object) -> dict[str, object]:
        return {"input": self.prompt, "conversation": self.conversation_id, **fields}

    async def post(self, gateway: int, *, key: str = "", **fields: Any) -> dict[str, Any]:
        """The whole response. Raises httpx2.HTTPError."""
        headers = self._headers | ({"Idempotency-Key": key} if key else {})
        async with httpx2.AsyncClient(headers=headers, timeout=30) as api:
            answer = await api.post(f"{self._url(gateway)}/v1/responses", json=self.body(**fields))
        response: dict[str, Any] = answer.raise_for_status().json()
        return response

    async def until_accepted(self, gateways: list[int], **fields: Any) -> dict[str, Any]:
        """Like a client whose gateway dies: tries the next one."""
        for gateway in gateways:
            try:
                return await self.post(gateway, **fields)
            except httpx2.TransportError:
                continue
        raise AssertionError("no gateway has accepted it")

    async def over_a_socket(self, gateway: int, **fields: object) -> list[dict[str, Any]]:
        url = f"ws{self._url(gateway).removeprefix('http')}/v1/responses"
        async with connect(url, additional_headers=self._headers) as socket:
            await socket.send(json.dumps({"type": "response.create", **self.body(**fields)}))
            events = []
            async for frame in socket:
                events.append(json.loads(frame))
                if events[-1]["type"] in {"response.completed", "error"}:
                    break
        return events

    def runs(self) -> int:
        """How often the engine generated the answer."""
        asked = httpx2.get(f"{self._stack.engine_url.removesuffix('/v1')}/requests").json()["data"]
        chats = [one["body"]["messages"][-1]["content"] for one in asked if one["path"] == "/v1/chat/completions"]
        return chats.count(self.prompt)

    def _url(self, gateway: int) -> str:
        return f"http://127.0.0.1:{self._stack.gateway(gateway).command.port}"


async def repeating_client(deployment: Deployment) -> RepeatingClient:
    return RepeatingClient(deployment, await deployment.conversation(deployment.alice))


async def assert_accepted_once(
    deployment: Deployment, client: RepeatingClient, responses: list[dict[str, Any]]
) -> None:
    assert len({one["id"] for one in responses}) == 1
    answer = f"{TEXT} {client.conversation_id}"
    assert {one["output"][0]["content"][0]["text"] for one in responses} == {answer}
    assert await deployment.items(deployment.alice, client.conversation_id) == [
        ("user", client.prompt, "completed"),
        ("assistant", answer, "completed"),
    ]
    assert client.runs() == 1


@pytest.mark.parametrize(
    "once", [{"metadata": {"client_message_id": "m-1"}}, {"key": "m-1"}], ids=["client_message_id", "Idempotency-Key"]
)
async def test_ten_concurrent_requests_at_two_replicas_are_accepted_once(
    deployment: Deployment, once: dict[str, Any]
) -> None:
    asking = await repeating_client(deployment)
    # The id is the user's: the same id in another conversation would be the same message.
    once = json.loads(json.dumps(once).replace("m-1", asking.conversation_id))
    posts = (asking.post(1 + number % 2, **once) for number in range(TIMES))
    await assert_accepted_once(deployment, asking, await asyncio.gather(*posts))


async def test_ten_concurrent_sockets_receive_the_same_events(deployment: Deployment) -> None:
    asking = await repeating_client(deployment)
    once: dict[str, Any] = {"metadata": {"client_message_id": asking.conversation_id}}
    streams = await asyncio.gather(*(asking.over_a_socket(1 + number % 2, **once) for number in range(TIMES)))
    assert all(events == streams[0] for events in streams)
    await assert_accepted_once(deployment, asking, [events[-1]["response"] for events in streams])


async def test_a_repeated_request_after_the_end_returns_the_same_answer(deployment: Deployment) -> None:
    asking = await repeating_client(deployment)
    once: dict[str, Any] = {"metadata": {"client_message_id": asking.conversation_id}}
    responses = [await asking.post(gateway, **once) for gateway in (1, 2, 1)]
    await assert_accepted_once(deployment, asking, responses)


async def test_a_question_stays_accepted_when_its_gateway_dies_before_it_answers(
    chaos: Environment, deployment: Deployment
) -> None:
    """Redis has executed the transaction, and the gateway is killed before it receives the reply."""
    asking = await repeating_client(deployment)
    once: dict[str, Any] = {"metadata": {"client_message_id": asking.conversation_id}}
    proxy = chaos.redis_proxies[0]
    proxy.drop_reply_to(accepts)
    first = asyncio.create_task(asking.until_accepted([1, 2], **once))
    await proxy.dropped_reply.wait()
    chaos.process("gateway-1").kill()
    others = await asyncio.gather(*(asking.post(2, **once) for _ in range(TIMES - 1)))
    await assert_accepted_once(deployment, asking, [*others, await first])


async def test_ten_concurrent_requests_are_accepted_once_although_their_gateway_dies(
    chaos: Environment, deployment: Deployment
) -> None:
    asking = await repeating_client(deployment)
    once: dict[str, Any] = {"metadata": {"client_message_id": asking.conversation_id}}
    proxy = chaos.redis_proxies[0]
    proxy.drop_reply_to(accepts)
    asked = [asyncio.create_task(asking.until_accepted([1, 2], **once)) for _ in range(TIMES)]
    await proxy.dropped_reply.wait()
    chaos.process("gateway-1").kill()
    await assert_accepted_once(deployment, asking, await asyncio.gather(*asked))
