"""The same asked again under the client's own id, when little is left of the first time."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi import Request
from starlette.websockets import WebSocket

from gateway.errors import EventsExpired, IdempotencyKeyReused, NotFound, ParleyError, Unavailable
from gateway.identity.introspection import User
from gateway.protocol.create import ResponseCreate
from gateway.routes.places import ConnectionLimit
from gateway.routes.responses import create
from gateway.routes.responses_socket import responses_socket
from gateway.routes.state import SocketLimits
from tests.gateway.builders import Wire
from tests.gateway.replica import FakeEngine, Replica, collect_events, replica, text_stream

MINE = "mine"
QUESTION = ResponseCreate(input="go")
ALICE = User("user_1", "alice")


class Away(FakeEngine):
    async def model(self) -> str:
        raise Unavailable("vllm")


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("the answer"))) as found:
        yield found


async def answered(gateway: Replica) -> str:
    """A whole answer that was asked for under an id of the client's."""
    answer = await gateway.turns.start("user_1", QUESTION, idempotency_key=MINE)
    assert answer.running is not None
    await collect_events(answer.running)
    await gateway.registry.finish(5)
    return answer.response_id


async def forget_events(gateway: Replica, response_id: str) -> None:
    """As time does it."""
    assert await gateway.redis.delete(f"parley:{{user_1}}:response:{response_id}:log")


async def delete(gateway: Replica, response_id: str) -> None:
    await gateway.following.delete("user_1", response_id)


LITTLE_IS_LEFT = pytest.mark.parametrize(
    ("lose", "error"), [(forget_events, EventsExpired), (delete, NotFound)], ids=["expired", "deleted"]
)


def posted(gateway: Replica) -> Request:
    body = json.dumps({"input": "go", "stream": True}).encode()

    async def receive() -> Wire:
        return {"type": "http.request", "body": body, "more_body": False}

    state = {"turns": gateway.turns, "following": gateway.following}
    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "headers": headers, "state": state}, receive)


@LITTLE_IS_LEFT
async def test_a_retry_whose_events_are_gone_is_refused_before_the_stream_starts(
    gateway: Replica, lose: Any, error: type[ParleyError]
) -> None:
    await lose(gateway, await answered(gateway))
    with pytest.raises(error) as caught:
        await create(posted(gateway), ALICE, MINE)
    assert type(caught.value) is error


class Known:
    """Everybody is Alice."""

    async def user(self, _: object) -> User:
        return ALICE

    async def again(self, user: User) -> User:
        return user

    heard = 0

    async def watch(self, *_: object, **__: object) -> None:
        """Nobody is ever sent away."""


class Wired:
    """A socket without a network."""

    def __init__(self, gateway: Replica) -> None:
        self._arriving: asyncio.Queue[Wire] = asyncio.Queue()
        self.told: asyncio.Queue[Wire] = asyncio.Queue()
        state = {
            "turns": gateway.turns,
            "following": gateway.following,
            "identity": Known(),
            "revocations": Known(),
            "places": ConnectionLimit(1),
            "socket_limits": SocketLimits(60, 60),
        }
        scope = {
            "type": "websocket",
            "path": "/v1/responses",
            "query_string": b"",
            "headers": [(b"authorization", b"Bearer pk_1")],
            "state": state,
        }
        self.websocket: WebSocket[Any] = WebSocket(scope, self._arriving.get, self._send)
        self._arriving.put_nowait({"type": "websocket.connect"})

    async def _send(self, message: Any) -> None:
        if "text" in message:
            await self.told.put(json.loads(message["text"]))

    def ask(self, client_id: str) -> None:
        event = {"type": "response.create", "input": "go", "metadata": {"client_message_id": client_id}}
        self._arriving.put_nowait({"type": "websocket.receive", "text": json.dumps(event)})

    def leave(self) -> None:
        self._arriving.put_nowait({"type": "websocket.disconnect", "code": 1000})


@LITTLE_IS_LEFT
async def test_a_socket_reports_that_the_events_are_gone_and_serves_the_next_request(
    gateway: Replica, lose: Any, error: type[ParleyError]
) -> None:
    await lose(gateway, await answered(gateway))
    client = Wired(gateway)
    serving = asyncio.create_task(responses_socket(client.websocket))
    client.ask(MINE)
    client.ask("another")
    refused, created = await client.told.get(), await client.told.get()
    client.leave()
    await serving
    assert (refused["type"], refused["status"], refused["error"]["code"]) == ("error", 404, error.code)
    assert created["type"] == "response.created"


async def test_an_accepted_request_is_found_while_the_engine_is_unavailable(gateway: Replica, port: int) -> None:
    first = await answered(gateway)
    async with replica(port, Away(), name="g2") as other:
        again = await other.turns.start("user_1", QUESTION, idempotency_key=MINE)
        assert again.response_id == first
        outcome = await other.following.outcome("user_1", again.response_id, running=again.running)
        assert outcome.status == "completed"
        with pytest.raises(IdempotencyKeyReused):
            await other.turns.start("user_1", ResponseCreate(input="stay"), idempotency_key=MINE)
        with pytest.raises(Unavailable):
            await other.turns.start("user_1", QUESTION, idempotency_key="another")


async def test_the_same_input_after_another_response_is_another_request(gateway: Replica) -> None:
    first = await answered(gateway)
    for behind in (None, first):
        once = f"behind {behind}"
        asked = ResponseCreate(input="more", previous_response_id=behind)
        told = await gateway.turns.start("user_1", asked, idempotency_key=once)
        assert (await gateway.turns.start("user_1", asked, idempotency_key=once)).response_id == told.response_id
        elsewhere = ResponseCreate(input="more", previous_response_id=None if behind else first)
        with pytest.raises(IdempotencyKeyReused):
            await gateway.turns.start("user_1", elsewhere, idempotency_key=once)
