"""The delay of a user's first token by 16 concurrent streams: `python -m tests.bench.first_token`.

Each of the 16 has a stream of its own; a 17th asks repeatedly, alternating between alone and beside them, so that a
machine that slows down slows both. The engine is scripted: this measures the gateway, nginx and Redis.
"""

import asyncio
import json
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from dev.stack import Plan, Stack

OTHERS = 16
ROUNDS = 4
ASKED_PER_ROUND = 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Stack(Plan(Path(folder), engine="scripted", gateways=2)) as stack:
        stack.add_user("bench", "correct horse battery")
        key = stack.add_key("bench")
        alone, beside = asyncio.run(_measure(f"ws://127.0.0.1:{stack.port}/v1/responses", key))
    print(f"first token, milliseconds ({len(alone)} questions each)")
    print(f"{'':24}{'p50':>8}{'p95':>8}{'max':>8}")
    for title, seconds in (("alone", alone), (f"beside {OTHERS} streams", beside)):
        cells = (statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1], max(seconds))
        print(f"{title:24}" + "".join(f"{cell * 1000:8.1f}" for cell in cells))
    print(f"ratio of the medians: {statistics.median(beside) / statistics.median(alone):.2f}")


async def _measure(url: str, key: str) -> tuple[list[float], list[float]]:
    headers = {"Authorization": f"Bearer {key}"}
    alone: list[float] = []
    beside: list[float] = []
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(connect(url, additional_headers=headers)) for _ in range(OTHERS + 1)]
        asker, *others = sockets
        await _first_token_seconds(asker)  # the first question pays for opening every connection
        for _ in range(ROUNDS):
            alone += [await _first_token_seconds(asker) for _ in range(ASKED_PER_ROUND)]
            async with asyncio.TaskGroup() as tasks:
                streams = [tasks.create_task(_chat_for_ever(one)) for one in others]
                await asyncio.sleep(0.5)
                beside += [await _first_token_seconds(asker) for _ in range(ASKED_PER_ROUND)]
                for stream in streams:
                    stream.cancel()
            for one in others:
                await _drain(one)
    return alone, beside


async def _first_token_seconds(socket: ClientConnection) -> float:
    started = time.perf_counter()
    await _ask(socket, "[[tokens=3]]")
    while (await _event(socket))["type"] != "response.output_text.delta":
        pass
    taken = time.perf_counter() - started
    while (await _event(socket))["type"] != "response.completed":
        pass
    return taken


async def _chat_for_ever(socket: ClientConnection) -> None:
    while True:
        await _ask(socket, "[[tokens=100 pace=0.02]]")
        await _drain(socket)


async def _drain(socket: ClientConnection) -> None:
    while (await _event(socket))["type"] not in {"response.completed", "response.failed"}:
        pass


async def _ask(socket: ClientConnection, text: str) -> None:
    await socket.send(json.dumps({"type": "response.create", "input": text}))


async def _event(socket: ClientConnection) -> dict[str, str]:
    event: dict[str, str] = json.loads(await socket.recv())
    return event


if __name__ == "__main__":
    main()
