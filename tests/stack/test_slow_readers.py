"""Readers that take nothing, and readers that are gone without a word: they are let go, and their answers are not."""

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
from tests.stack.conftest import House, ask, furnish, text_of, until_the_end

# A megabyte on the wire: each token is an event.
TOKENS = 3800
LONG = f"[[tokens={TOKENS} pace=0.003]]"
SHORT = "[[tokens=200 pace=0.01]]"
# As a client on a real network has it. On the loopback device a segment has 64 kB, and the kernel gives each end of a
# connection megabytes of buffers for the first ten of them: whole answers disappear there, and nobody is slow.
_SEGMENT_BYTES = 1400
_RECEIVE_BYTES = 4096
_MEGABYTE = 2**20
_FOLLOWERS = 24


def narrow(port: int) -> socket.socket:
    """A connection of somebody far away, who has little room."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT_BYTES)
    connection.connect(("127.0.0.1", port))
    return connection


def asks_on_a_socket(house: House, connection: socket.socket, body: dict[str, Any]) -> None:
    connection.sendall(raw.handshake(house))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    connection.sendall(raw.frame(raw.TEXT, json.dumps({"type": "response.create", **body}).encode()))


def asks_for_a_stream(house: House, connection: socket.socket, body: dict[str, Any]) -> None:
    data = json.dumps({"stream": True, **body}).encode()
    headers = (_bearer(house), "Content-Type: application/json", f"Content-Length: {len(data)}")
    connection.sendall(raw.request("POST /v1/responses", *headers, body=data))


def _bearer(house: House) -> str:
    return f"Authorization: Bearer {house.alice}"


async def cut(connection: socket.socket) -> None:
    """Returns once it was reset: a proper end would wait behind what nobody reads."""
    poll = select.poll()
    poll.register(connection, 0)
    while not poll.poll(0):
        await asyncio.sleep(0.05)


async def answered(house: House, conversation: str) -> tuple[str, str]:
    """The answer and its status, once it is in history."""
    while len(items := await house.items(house.alice, conversation)) < 2:
        await asyncio.sleep(0.1)
    return items[1][1:]


async def is_refused(house: House) -> bool:
    """Where a user may have one socket: it is still open."""
    try:
        async with house.socket(house.alice):
            return False
    except InvalidStatus as exc:
        return exc.response.status_code == 429


async def place_given_back(house: House) -> None:
    while await is_refused(house):
        await asyncio.sleep(0.1)


def resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


@dataclass(frozen=True)
class Outcome:
    """Of one who left, or took nothing: what is in history then."""

    answer: str
    status: str


async def takes_nothing(house: House, ask_: Callable[[House, socket.socket, dict[str, Any]], None]) -> Outcome:
    conversation = await house.conversation(house.alice)
    with narrow(house.stack.port) as connection:
        ask_(house, connection, {"input": LONG, "conversation": conversation})
        told, _ = await asyncio.gather(answered(house, conversation), cut(connection))
    await place_given_back(house)
    return Outcome(*told)


async def is_gone_without_a_word(house: House) -> Outcome:
    """Half-open: what the stack sends arrives nowhere, and nothing says so."""
    conversation = await house.conversation(house.alice)
    async with Proxy(house.stack.port) as cable:
        reader, writer = await asyncio.open_connection("127.0.0.1", cable.port)
        writer.write(raw.handshake(house))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw.frame(raw.TEXT, json.dumps(_create(SHORT, conversation)).encode()))
        await reader.readuntil(b"output_text.delta")
        cable.forget()
        assert await is_refused(house)
        told, _ = await asyncio.gather(answered(house, conversation), place_given_back(house))
        writer.close()
    return Outcome(*told)


def _create(text: str, conversation: str) -> dict[str, str]:
    return {"type": "response.create", "input": text, "conversation": conversation}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {"GATEWAY_SOCKETS_PER_USER": "1", "GATEWAY_TITLES": "off"}
    with Stack(Plan(tmp_path_factory.mktemp("slow"), gateways=1, gateway=settings)) as stack:
        yield furnish(stack)


@pytest.fixture(scope="module")
async def outcomes(house: House) -> Sequence[Outcome]:
    """At the same time: a socket and a stream whose clients take nothing, and a socket whose client is gone."""
    bobs, carols = (replace(house, alice=house.stack.add_key(name)) for name in ("bob", "carol"))
    return await asyncio.gather(
        takes_nothing(bobs, asks_on_a_socket), takes_nothing(carols, asks_for_a_stream), is_gone_without_a_word(house)
    )


async def test_who_takes_nothing_is_cut_and_the_answer_is_complete_in_history(
    house: House, outcomes: Sequence[Outcome]
) -> None:
    on_a_socket, of_a_stream, _ = outcomes
    async with house.socket(house.alice) as socket_:
        whole = text_of(await ask(socket_, f"[[tokens={TOKENS} pace=0]]"))
    assert on_a_socket == of_a_stream == Outcome(whole, "completed")


async def test_who_is_gone_without_a_word_gives_its_place_back_and_the_answer_is_complete_in_history(
    house: House, outcomes: Sequence[Outcome]
) -> None:
    *_, of_the_gone = outcomes
    async with house.socket(house.alice) as socket_:
        whole = text_of(await ask(socket_, "[[tokens=200 pace=0]]"))
    assert of_the_gone == Outcome(whole, "completed")


async def test_readers_that_take_nothing_cost_the_gateway_no_copy_of_what_they_are_owed(house: House) -> None:
    gateway, conversation = house.stack.gateway(1), await house.conversation(house.alice)
    async with house.socket(house.alice) as socket_:
        events = await ask(socket_, LONG.replace("0.003", "0.002"), conversation=conversation)
        response_id, size = events[0]["response"]["id"], sum(len(json.dumps(event)) for event in events)
    assert size > _MEGABYTE / 3
    async with house.socket(house.alice, query=f"resume={response_id}") as socket_:
        assert await until_the_end(socket_) == events
    before = resident_bytes(gateway.pid)
    with ExitStack() as open_:
        for _ in range(_FOLLOWERS):
            connection = open_.enter_context(narrow(gateway.command.port))
            connection.sendall(raw.request(f"GET /v1/responses/{response_id}?stream=true", _bearer(house)))
        async with house.socket(house.bob) as socket_:
            assert (await ask(socket_, SHORT))[-1]["type"] == "response.completed"
        assert resident_bytes(gateway.pid) - before < _FOLLOWERS * size / 2
