import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from gateway.errors import Unauthenticated
from gateway.identity.introspection import User
from gateway.identity.revocations import Close
from gateway.routes.event_stream import event_stream
from gateway.routes.revocable_response import RevocableResponse

ALICE = User("user_1", "alice", "a" * 64)


class Revocations:
    """Of Alice's credential, once `ended` is set."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def watch(self, _: object, user: User, close: Close) -> None:
        assert user == ALICE
        await self.ended.wait()
        await close()


class Client:
    def __init__(self) -> None:
        self.revocations = Revocations()
        self.got = bytearray()
        self.status = 0
        self.over = 0
        self.reads = asyncio.Semaphore(0)

    async def send(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        self.got += message.get("body", b"")
        self.over += message["type"] == "http.response.body" and not message.get("more_body", False)
        if message.get("body"):
            self.reads.release()

    async def request(self, response: Response) -> None:
        async def receive() -> Message:
            return await asyncio.Event().wait()  # type: ignore[return-value]

        state = {"revocations": self.revocations, "identity": None}
        scope: dict[str, Any] = {"type": "http", "headers": [], "state": state, "asgi": {"spec_version": "2.4"}}
        await RevocableResponse(ALICE, response)(scope, receive, self.send)

    @property
    def events(self) -> list[str]:
        return self.got.decode().split("\n\n")[:-1]


async def source(*frames: str, hold: asyncio.Event | None = None) -> AsyncIterator[str]:
    for frame in frames:
        yield frame
    if hold is not None:
        await hold.wait()


async def test_a_stream_ends_with_the_reason_when_its_credential_ends() -> None:
    client, closed = Client(), list[str]()
    response = event_stream(source('{"type":"x"}', hold=asyncio.Event()), on_close=lambda: closed.append("closed"))
    requesting = asyncio.create_task(client.request(response))
    await client.reads.acquire()
    assert not closed
    client.revocations.ended.set()
    await requesting
    first, error, done = client.events
    assert (first, done) == ('event: x\ndata: {"type":"x"}', "data: [DONE]")
    kind, _, data = error.partition("\ndata: ")
    assert (kind, json.loads(data)["status"]) == ("event: error", 401)
    assert (closed, client.over) == (["closed"], 1)


async def test_a_stream_that_ends_by_itself_is_unchanged() -> None:
    client = Client()
    await client.request(event_stream(source('{"type":"x"}')))
    assert client.events == ['event: x\ndata: {"type":"x"}', "data: [DONE]"]
    assert client.over == 1


class NeverStarted(Response):
    """Sends nothing; its clean-up takes a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.cleaned_up = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.cleaned_up = True


async def test_a_response_that_has_not_started_becomes_a_401_and_completes_its_clean_up() -> None:
    client, response = Client(), NeverStarted()
    client.revocations.ended.set()
    await client.request(response)
    assert (client.status, json.loads(client.got)["error"]["code"]) == (401, Unauthenticated.code)
    assert response.cleaned_up


async def test_a_client_that_disconnects_cancels_response_and_watch() -> None:
    client, response = Client(), NeverStarted()
    requesting = asyncio.create_task(client.request(response))
    await asyncio.sleep(0)
    requesting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await requesting
    assert (client.status, client.over) == (0, 0)


async def test_an_exception_of_the_response_is_raised() -> None:
    class Failing(Response):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Client().request(Failing())
