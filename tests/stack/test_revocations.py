"""A credential that ends closes the sockets it opened, on every replica, and nobody else's."""

import asyncio

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.stack.conftest import PASSWORD, House, ask


def with_cookie(house: House, cookie: str, gateway: int) -> connect:
    port = house.stack.gateway(gateway).command.port
    headers = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"}
    return connect(f"ws://127.0.0.1:{port}/v1/responses", additional_headers=headers)


async def closed(socket: ClientConnection) -> int | None:
    try:
        async with asyncio.timeout(20):
            while True:
                await socket.recv()
    except ConnectionClosed:
        return socket.close_code


async def test_a_log_out_closes_the_sockets_of_that_session_on_every_replica_and_no_others(house: House) -> None:
    cookie = house.log_in("alice", PASSWORD)
    other = house.log_in("alice", PASSWORD)
    async with (
        with_cookie(house, cookie, 1) as one,
        with_cookie(house, cookie, 2) as two,
        with_cookie(house, other, 1) as hers,
        house.socket(house.alice, gateway=2) as by_key,
        house.socket(house.bob, gateway=1) as his,
    ):
        await ask(one, "hello")
        origin = {"Cookie": cookie, "Origin": house.stack.url}
        async with httpx2.AsyncClient(base_url=house.stack.url, headers=origin) as client:
            assert (await client.post("/auth/logout")).status_code == 204
        assert [await closed(socket) for socket in (one, two)] == [1008, 1008]
        for open_still in (hers, by_key, his):
            assert (await ask(open_still, "still here"))[-1]["type"] == "response.completed"


async def test_a_ticket_opens_one_socket_and_no_second(house: House) -> None:
    async with httpx2.AsyncClient(base_url=house.stack.url, headers={"Authorization": f"Bearer {house.bob}"}) as client:
        ticket = (await client.post("/auth/tickets")).json()["ticket"]

    def with_ticket(gateway: int) -> connect:
        port = house.stack.gateway(gateway).command.port
        offered = ["openai-responses", f"openai-insecure-api-key.{ticket}"]
        return connect(f"ws://127.0.0.1:{port}/v1/responses", subprotocols=offered)  # type: ignore[arg-type]

    async with with_ticket(1) as socket:
        assert socket.subprotocol == "openai-responses"
        assert (await ask(socket, "hello"))[-1]["type"] == "response.completed"
        assert (await ask(socket, "and again"))[-1]["type"] == "response.completed"
    with pytest.raises(InvalidStatus) as refused:
        await with_ticket(2)
    assert refused.value.response.status_code == 401
