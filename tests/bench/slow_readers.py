"""The cost of clients that read nothing for those that do: `python -m tests.bench.slow_readers`.

Streams are read alone, and beside streams whose clients read nothing, alternating, so that a machine that slows down
slows both. The pause between two events of a stream shows the influence of the others.
"""

import asyncio
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import uvloop
from websockets.asyncio.client import connect

from dev.stack import Plan, Stack
from tests.stack.conftest import Deployment, create_users
from tests.stack.test_slow_readers import request_on_socket, request_stream, slow_connection

READERS = 8
SLOW = 32
ROUNDS = 3
_READ = "[[tokens=300 pace=0.02]]"
_OWED = "[[tokens=330 pace=0.02]]"


def main() -> None:
    plan = {"GATEWAY_TITLES": "off", "GATEWAY_SOCKETS_PER_USER": "1024", "GATEWAY_ANSWERS_PER_USER": "1024"}
    with tempfile.TemporaryDirectory() as folder, Stack(Plan(Path(folder), gateways=1, gateway=plan)) as stack:
        alone, beside, others = uvloop.run(_measure(create_users(stack)))
    print(f"milliseconds between events of {READERS} streams ({len(alone)} pauses each)")
    print(f"{'':32}{'p50':>8}{'p99':>8}{'max':>8}")
    rows = {"alone": alone, f"beside {SLOW} being read": others, f"beside {SLOW} not being read": beside}
    for title, seconds in rows.items():
        cells = (statistics.median(seconds), _p99(seconds), max(seconds))
        print(f"{title:32}" + "".join(f"{cell * 1000:8.1f}" for cell in cells))
    print(
        f"ratio of the p99: {_p99(beside) / _p99(alone):.2f} to alone, {_p99(beside) / _p99(others):.2f} to read ones"
    )


async def _measure(deployment: Deployment) -> tuple[list[float], list[float], list[float]]:
    alone: list[float] = []
    beside: list[float] = []
    others: list[float] = []
    await _read(deployment)  # the first pays for opening every connection
    for _ in range(ROUNDS):
        alone += await _read(deployment)
        with ExitStack() as open_:
            for number in range(SLOW):
                connection = open_.enter_context(slow_connection(deployment.stack.port))
                ask = request_on_socket if number % 2 else request_stream
                ask(deployment, connection, {"input": _OWED})
            beside += await _read(deployment)
        reading = [asyncio.create_task(_pauses(deployment, _READ)) for _ in range(SLOW)]
        others += await _read(deployment)
        await asyncio.gather(*reading)
    return alone, beside, others


async def _read(deployment: Deployment) -> list[float]:
    found = await asyncio.gather(*(_pauses(deployment, _READ) for _ in range(READERS)))
    return [one for pauses in found for one in pauses]


async def _pauses(deployment: Deployment, text: str) -> list[float]:
    url, headers = f"{deployment.socket_url}/v1/responses", {"Authorization": f"Bearer {deployment.alice}"}
    times: list[float] = []
    async with connect(url, additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "response.create", "input": text}))
        while (event := json.loads(await socket.recv()))["type"] != "response.completed":
            if event["type"] == "response.output_text.delta":
                times.append(time.perf_counter())
    return [later - earlier for earlier, later in pairwise(times)]


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[-1]


if __name__ == "__main__":
    main()
