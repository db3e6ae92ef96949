"""How long a socket stays open after its session ends: `python -m tests.bench.revocation`.

A user has a socket on each of two gateways and logs out: from the answer to the log-out until each of the two is
closed, as the client sees it. Also with a hundred answers of another user running meanwhile.
"""

import asyncio
import json
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from dev.stack import Plan, Stack

REVOCATIONS = 30
GATEWAYS = 2
BUSY_ANSWERS = 100
_PASSWORD = "correct horse battery"
_CLOSED_WITHIN_SECONDS = 90.0
_ENDLESS = "[[tokens=3900 pace=0.1]]"


def main() -> None:
    settings = {"GATEWAY_TITLES": "off", "GATEWAY_SOCKETS_PER_USER": "1024", "GATEWAY_ANSWERS_PER_USER": "1024"}
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Plan(Path(folder), gateways=GATEWAYS, gateway=settings)) as stack,
    ):
        stack.add_user("alice", _PASSWORD)
        stack.add_user("bob", _PASSWORD)
        key = stack.add_key("bob")
        print(f"{REVOCATIONS} log-outs, a socket on each of {GATEWAYS} gateways; ms from the answer to the close")
        print(f"{'':24}{'p50':>8}{'p95':>8}{'max':>8}")
        uvloop.run(_measured(stack, key))


async def _measured(stack: Stack, key: str) -> None:
    _print_row("idle", await _seconds(stack))
    async with AsyncExitStack() as neighbours:
        for number in range(BUSY_ANSWERS):
            await neighbours.enter_async_context(await _asking(stack, key, 1 + number % GATEWAYS))
        _print_row(f"{BUSY_ANSWERS} running answers", await _seconds(stack))


async def _asking(stack: Stack, key: str, gateway: int) -> ClientConnection:
    socket = await connect(_url(stack, gateway), additional_headers={"Authorization": f"Bearer {key}"})
    await socket.send(json.dumps({"type": "response.create", "input": _ENDLESS, "store": False}))
    return socket


async def _seconds(stack: Stack) -> list[float]:
    """Seconds for each socket; negative if it was closed before the answer arrived."""
    seconds: list[float] = []
    async with httpx2.AsyncClient(base_url=stack.url, headers={"Origin": stack.url}, timeout=30) as http:
        for _ in range(REVOCATIONS):
            body = {"username": "alice", "password": _PASSWORD}
            (await http.post("/auth/login", json=body)).raise_for_status()
            cookie = "; ".join(f"{name}={value}" for name, value in http.cookies.items())
            sockets = [await _opened(stack, cookie, number) for number in range(1, GATEWAYS + 1)]
            closes = [asyncio.create_task(_closed_at(socket)) for socket in sockets]
            (await http.post("/auth/logout")).raise_for_status()
            answered = time.monotonic()
            async with asyncio.timeout(_CLOSED_WITHIN_SECONDS):
                seconds += [at - answered for at in await asyncio.gather(*closes)]
    return seconds


async def _opened(stack: Stack, cookie: str, gateway: int) -> ClientConnection:
    origin = f"http://127.0.0.1:{stack.gateway(gateway).command.port}"
    return await connect(_url(stack, gateway), additional_headers={"Cookie": cookie, "Origin": origin})


async def _closed_at(socket: ClientConnection) -> float:
    await socket.wait_closed()
    if socket.close_code != 1008:
        raise RuntimeError(f"closed with {socket.close_code}, not for its credential")
    return time.monotonic()


def _url(stack: Stack, gateway: int) -> str:
    return f"ws://127.0.0.1:{stack.gateway(gateway).command.port}/v1/responses"


def _print_row(name: str, seconds: list[float]) -> None:
    quantiles = statistics.quantiles(seconds, n=20)
    shown = [one * 1000 for one in (quantiles[9], quantiles[18], max(seconds))]
    print(f"{name:24}" + "".join(f"{one:8.1f}" for one in shown), flush=True)


if __name__ == "__main__":
    main()
