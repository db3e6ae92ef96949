"""Clients that read nothing, and half-open clients: they are disconnected, and their answers continue."""

import asyncio
import json
import resource
import select
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from dev.stack import Plan, Stack
from tests.chaos.proxy import Proxy
from tests.stack import raw
from tests.stack.accounts import create_accounts
from tests.stack.conftest import Deployment, ask, create_users, receive_all, text_of

# A megabyte on the wire: each token is an event.
TOKENS = 3800
LONG = f"[[tokens={TOKENS} pace=0.003]]"
SHORT = "[[tokens=200 pace=0.01]]"
# As on a real network. On the loopback device a segment has 64 kB, and the kernel gives each end of a
# connection megabytes of buffers for the first ten of them: whole answers fit into them, and no client is slow.
_SEGMENT_BYTES = 1400
_RECEIVE_BYTES = 4096
_MEGABYTE = 2**20
_FOLLOWERS = 24


def slow_connection(port: int) -> socket.socket:
    """A connection with a small receive buffer and small segments."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
    connection.connect(("127.0.0.1", port))
    return connection


def request_on_socket(deployment: Deployment, connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(raw.handshake(deployment))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    connection.sendall(raw.frame(raw.TEXT, json.dumps({"type": "response.create", **body}).encode()))


def request_stream(deployment: Deployment, connection: socket.socket, body: dict[str, Any]) -> None:
    data = json.dumps({"stream": True, **body}).encode()
    headers = (_bearer(deployment), "Content-Type: application/json", f"Content-Length: {len(data)}")
    connection.sendall(raw.request("POST /v1/responses", *headers, body=data))


def _bearer(deployment: Deployment) -> str:
    return f"Authorization: Bearer {deployment.alice}"


async def cut(connection: socket.socket) -> None:
    """Returns when the connection is reset: a regular close would wait behind unread bytes."""
    poll = select.poll()
    poll.register(connection, 0)
    while not poll.poll(0):
        await asyncio.sleep(0.05)


async def answered(deployment: Deployment, conversation: str) -> tuple[str, str]:
    """The answer and its status, once it is in history."""
    while len(items := await deployment.items(deployment.alice, conversation)) < 2:
        await asyncio.sleep(0.1)
    return items[1][1:]


async def is_refused(deployment: Deployment) -> bool:
    """Whether the user's only allowed socket is still open."""
    try:
        async with deployment.socket(deployment.alice):
            return False
    except InvalidStatus as exc:
        return exc.response.status_code == 429


async def wait_for_free_place(deployment: Deployment) -> None:
    while await is_refused(deployment):
        await asyncio.sleep(0.1)


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


@dataclass(frozen=True)
class Outcome:
    """The history after a client that disconnected or read nothing."""

    answer: str
    status: str


async def read_nothing(
    deployment: Deployment, ask_: Callable[[Deployment, socket.socket, dict[str, Any]], None]
) -> Outcome:
    conversation = await deployment.conversation(deployment.alice)
    with slow_connection(deployment.stack.port) as connection:
        ask_(deployment, connection, {"input": LONG, "conversation": conversation})
        outcome, _ = await asyncio.gather(answered(deployment, conversation), cut(connection))
    await wait_for_free_place(deployment)
    return Outcome(*outcome)


async def leave_half_open(deployment: Deployment) -> Outcome:
    """Half-open: the bytes that the stack sends are lost without an error."""
    conversation = await deployment.conversation(deployment.alice)
    async with Proxy(deployment.stack.port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(raw.handshake(deployment))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw.frame(raw.TEXT, json.dumps(_create(SHORT, conversation)).encode()))
        await reader.readuntil(b"output_text.delta")
        proxy.forget()
        assert await is_refused(deployment)
        outcome, _ = await asyncio.gather(answered(deployment, conversation), wait_for_free_place(deployment))
        writer.close()
    return Outcome(*outcome)


def _create(text: str, conversation: str) -> dict[str, str]:
    return {"type": "response.create", "input": text, "conversation": conversation}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    settings = {"GATEWAY_SOCKETS_PER_USER": "1", "GATEWAY_TITLES": "off"}
    with Stack(Plan(tmp_path_factory.mktemp("slow"), gateways=1, gateway=settings)) as stack:
        yield create_users(stack)


@pytest.fixture(scope="module")
async def outcomes(deployment: Deployment) -> Sequence[Outcome]:
    """Concurrently: a socket and a stream whose clients read nothing, and a half-open socket."""
    keys = create_accounts(deployment.stack, {}, keys=["bob", "carol"])
    bobs, carols = (replace(deployment, alice=key) for key in keys)
    return await asyncio.gather(
        read_nothing(bobs, request_on_socket),
        read_nothing(carols, request_stream),
        leave_half_open(deployment),
    )


async def test_a_client_that_reads_nothing_is_disconnected_and_the_answer_is_complete_in_history(
    deployment: Deployment, outcomes: Sequence[Outcome]
) -> None:
    on_a_socket, of_a_stream, _ = outcomes
    async with deployment.socket(deployment.alice) as socket_:
        whole = text_of(await ask(socket_, f"[[tokens={TOKENS} pace=0]]"))
    assert on_a_socket == of_a_stream == Outcome(whole, "completed")


async def test_a_half_open_client_frees_its_place_and_the_answer_is_complete_in_history(
    deployment: Deployment, outcomes: Sequence[Outcome]
) -> None:
    *_, of_the_gone = outcomes
    async with deployment.socket(deployment.alice) as socket_:
        whole = text_of(await ask(socket_, "[[tokens=200 pace=0]]"))
    assert of_the_gone == Outcome(whole, "completed")


async def test_clients_that_read_nothing_do_not_cost_the_gateway_a_copy_of_their_events(deployment: Deployment) -> None:
    gateway, conversation = deployment.stack.gateway(1), await deployment.conversation(deployment.alice)
    async with deployment.socket(deployment.alice) as socket_:
        events = await ask(socket_, LONG.replace("0.003", "0.002"), conversation=conversation)
        response_id, size = events[0]["response"]["id"], sum(len(json.dumps(event)) for event in events)
    assert size > _MEGABYTE / 3
    async with deployment.socket(deployment.alice, query=f"resume={response_id}") as socket_:
        assert await receive_all(socket_) == events
    before = resident_bytes(gateway.pid)
    with ExitStack() as open_:
        for _ in range(_FOLLOWERS):
            connection = open_.enter_context(slow_connection(gateway.command.port))
            connection.sendall(raw.request(f"GET /v1/responses/{response_id}?stream=true", _bearer(deployment)))
        async with deployment.socket(deployment.bob) as socket_:
            assert (await ask(socket_, SHORT))[-1]["type"] == "response.completed"
        assert resident_bytes(gateway.pid) - before < _FOLLOWERS * size / 2
