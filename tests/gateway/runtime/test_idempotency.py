"""A retry under the client's own key when the events of the first request are gone."""

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
from gateway.routes.responses import create
from gateway.routes.responses_socket import responses_socket
from gateway.routes.state import SocketLimits
from gateway.runtime.concurrency_limit import ConcurrencyLimit
from tests.gateway.builders import Wire
from tests.gateway.replica import FakeEngine, Replica, collect_events, replica, text_stream

KEY = "mine"
QUESTION = ResponseCreate(input="go")
ALICE = User("user_1", "alice")


class UnavailableEngine(FakeEngine):
    async def model(self) -> str:
        raise Unavailable("vllm")


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("the answer"))) as found:
        yield found


async def complete_answer(gateway: Replica) -> str:
    """Returns the id of a complete response that was requested under the client's key."""
    started = await gateway.turns.start("user_1", QUESTION, idempotency_key=KEY)
    assert started.running is not None
    await collect_events(started.running)
    await gateway.registry.finish(5)
    return started.response_id


async def forget_events(gateway: Replica, response_id: str) -> None:
    """As they expire."""
    assert await gateway.redis.delete(f"parley:{{user_1}}:response:{response_id}:log")


async def delete(gateway: Replica, response_id: str) -> None:
    await gateway.following.delete("user_1", response_id)


EVENTS_GONE = pytest.mark.parametrize(
    ("lose", "error"), [(forget_events, EventsExpired), (delete, NotFound)], ids=["expired", "deleted"]
)


def post_request(gateway: Replica) -> Request:
    body = json.dumps({"input": "go", "stream": True}).encode()

    async def receive() -> Wire:
        return {"type": "http.request", "body": body, "more_body": False}

    connections = ConcurrencyLimit(1, "streams are already open")
    state = {"turns": gateway.turns, "follower": gateway.following, "connections": connections}
    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "headers": headers, "state": state}, receive)


@EVENTS_GONE
async def test_a_retry_whose_events_are_gone_is_refused_before_the_stream_starts(
    gateway: Replica, lose: Any, error: type[ParleyError]
) -> None:
    await lose(gateway, await complete_answer(gateway))
    request = post_request(gateway)
    with pytest.raises(error) as caught:
        await create(request, request.scope["state"], ALICE, KEY)
    assert type(caught.value) is error


class FakeIdentity:
    """Every credential is Alice's."""

    async def authenticate(self, _: object) -> User:
        return ALICE

    async def revalidate(self, user: User) -> User:
        return user

    epoch = 0

    async def watch(self, *_: object, **__: object) -> None:
        """No credential is ever revoked."""


class FakeSocket:
    """A socket without a network."""

    def __init__(self, gateway: Replica) -> None:
        self._arriving: asyncio.Queue[Wire] = asyncio.Queue()
        self.sent: asyncio.Queue[Wire] = asyncio.Queue()
        state = {
            "turns": gateway.turns,
            "follower": gateway.following,
            "identity": FakeIdentity(),
            "revocations": FakeIdentity(),
            "connections": ConcurrencyLimit(1, "sockets"),
            "requests": ConcurrencyLimit(1, "requests"),
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
            await self.sent.put(json.loads(message["text"]))

    def send_create(self, client_id: str) -> None:
        event = {"type": "response.create", "input": "go", "metadata": {"client_message_id": client_id}}
        self._arriving.put_nowait({"type": "websocket.receive", "text": json.dumps(event)})

    def disconnect(self) -> None:
        self._arriving.put_nowait({"type": "websocket.disconnect", "code": 1000})


@EVENTS_GONE
async def test_a_socket_reports_that_the_events_are_gone_and_serves_the_next_request(
    gateway: Replica, lose: Any, error: type[ParleyError]
) -> None:
    await lose(gateway, await complete_answer(gateway))
    client = FakeSocket(gateway)
    serving = asyncio.create_task(responses_socket(client.websocket))
    client.send_create(KEY)
    client.send_create("another")
    refused, created = await client.sent.get(), await client.sent.get()
    client.disconnect()
    await serving
    assert (refused["type"], refused["status"], refused["error"]["code"]) == ("error", 404, error.code)
    assert created["type"] == "response.created"


async def test_an_accepted_request_is_found_while_the_engine_is_unavailable(gateway: Replica, port: int) -> None:
    first = await complete_answer(gateway)
    async with replica(port, UnavailableEngine(), name="g2") as other:
        retry = await other.turns.start("user_1", QUESTION, idempotency_key=KEY)
        assert retry.response_id == first
        outcome = await other.following.outcome("user_1", retry.response_id, running=retry.running)
        assert outcome.status == "completed"
        with pytest.raises(IdempotencyKeyReused):
            await other.turns.start("user_1", ResponseCreate(input="stay"), idempotency_key=KEY)
        with pytest.raises(Unavailable):
            await other.turns.start("user_1", QUESTION, idempotency_key="another")


async def test_the_same_input_after_another_response_is_another_request(gateway: Replica) -> None:
    first = await complete_answer(gateway)
    for previous in (None, first):
        key = f"after {previous}"
        request = ResponseCreate(input="more", previous_response_id=previous)
        started = await gateway.turns.start("user_1", request, idempotency_key=key)
        assert (await gateway.turns.start("user_1", request, idempotency_key=key)).response_id == started.response_id
        elsewhere = ResponseCreate(input="more", previous_response_id=None if previous else first)
        with pytest.raises(IdempotencyKeyReused):
            await gateway.turns.start("user_1", elsewhere, idempotency_key=key)
