"""The cost of durable answers: `python -m tests.bench.durability`.

The same answers stored (every event in Redis before it is sent) and with `store: false`, alternating, so that a
machine that slows down slows both: CPU time of the gateway and commands at Redis for 1,000 tokens. Then the round trips
to Redis from a lone user's question to the first token, as they pass on the wire.
"""

import asyncio
import json
import os
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect

from dev.process import Process
from dev.stack import Plan, Stack
from tests.bench.round_trips import RoundTrips
from tests.chaos import environment

STREAMS = (1, 64, 256)
TOKENS = 100
# All streams together: a gateway that cannot keep up is a different measurement.
TOKENS_A_SECOND = 1600
FASTEST_PACE_SECONDS = 0.02
ROUNDS = 2
# A single stream needs several answers to be measurable.
TOKENS_AT_LEAST = 400
# Measures the streams, not the moment in which they all start.
_ASKING_AT_ONCE = 32
# Opens every connection that one user needs.
_WARM_UPS = 5
_IDLE_SECONDS = 4.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """`commands` at Redis, with the gateways' heartbeats; `appends` are the XADDs among them."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    commands: int = 0
    appends: int = 0
    tokens: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.commands + other.commands,
            self.appends + other.appends,
            self.tokens + other.tokens,
        )

    def since(self, before: "Cost", tokens: int) -> "Cost":
        return Cost(
            self.seconds - before.seconds,
            self.cpu_seconds - before.cpu_seconds,
            self.commands - before.commands,
            self.appends - before.appends,
            tokens,
        )

    def row(self, name: str, idle: "Cost") -> str:
        """Per 1,000 tokens, without the cost of an idle gateway."""
        share = self.seconds / idle.seconds
        cells = (
            (self.cpu_seconds - idle.cpu_seconds * share) * 1000,
            self.commands - idle.commands * share,
            self.appends - idle.appends * share,
        )
        return f"{name:18}" + "".join(f"{cell / self.tokens * 1000:16.1f}" for cell in cells)


class Bench:
    def __init__(self, gateway: Process, key: str, redis: Redis) -> None:
        self._gateway = gateway
        self._headers = {"Authorization": f"Bearer {key}"}
        self._redis = redis

    def socket(self) -> connect:
        url = f"ws://127.0.0.1:{self._gateway.command.port}/v1/responses"
        return connect(url, additional_headers=self._headers)

    async def idle(self) -> Cost:
        before = await self._now()
        await asyncio.sleep(_IDLE_SECONDS)
        return (await self._now()).since(before, 0)

    async def answers(self, streams: int, *, stored: bool) -> Cost:
        times = max(1, TOKENS_AT_LEAST // (streams * TOKENS))
        async with AsyncExitStack() as open_:
            sockets = [await open_.enter_async_context(self.socket()) for _ in range(streams)]
            places = asyncio.Semaphore(_ASKING_AT_ONCE)
            await asyncio.gather(*(ask(one, places, tokens=1, stored=stored) for one in sockets))
            before = await self._now()
            pace = max(FASTEST_PACE_SECONDS, streams / TOKENS_A_SECOND)
            for _ in range(times):
                await asyncio.gather(
                    *(ask(one, places, tokens=TOKENS, stored=stored, pace_seconds=pace) for one in sockets)
                )
            return (await self._now()).since(before, streams * times * TOKENS)

    async def _now(self) -> Cost:
        stats = await self._redis.info("commandstats")
        calls = {name.removeprefix("cmdstat_"): int(one["calls"]) for name, one in stats.items()}
        return Cost(time.monotonic(), _cpu_seconds(self._gateway.pid), sum(calls.values()), calls.get("xadd", 0))


async def ask(
    socket: ClientConnection,
    places: asyncio.Semaphore,
    *,
    tokens: int,
    stored: bool,
    pace_seconds: float = FASTEST_PACE_SECONDS,
    until: str = "response.completed",
) -> None:
    asked = {"input": f"[[tokens={tokens} pace={pace_seconds:.3f}]]", "store": stored}
    async with places:
        await socket.send(json.dumps({"type": "response.create", **asked}))
        await _wait_for(socket, "response.created")
    await _wait_for(socket, until)


async def _wait_for(socket: ClientConnection, until: str) -> None:
    while (event := json.loads(await socket.recv()))["type"] != until:
        if event["type"] in {"error", "response.failed"}:
            raise RuntimeError(event)


def main() -> None:
    plan = {
        "GATEWAY_TITLES": "off",
        "GATEWAY_SOCKETS_PER_USER": "1024",
        "GATEWAY_ANSWERS_PER_USER": "1024",
        # Each running answer of the one user reserves 350 kB.
        "GATEWAY_STORED_BYTES_PER_USER": str(2**30),
    }
    with tempfile.TemporaryDirectory() as folder, Stack(Plan(Path(folder), gateways=1, gateway=plan)) as stack:
        stack.add_user("bench", "correct horse battery")
        uvloop.run(_costs(stack, stack.add_key("bench")))
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_first_token(Path(folder)))


async def _costs(stack: Stack, key: str) -> None:
    async with Redis.from_url(stack.redis_admin_url) as redis:
        await _table(Bench(stack.gateway(1), key, redis))


async def _table(bench: Bench) -> None:
    idle = await bench.idle()
    print(f"{'per 1,000 tokens':18}{'gateway CPU ms':>16}{'Redis commands':>16}{'of them XADD':>16}")
    for streams in STREAMS:
        stored, unstored = Cost(), Cost()
        for _ in range(ROUNDS):
            stored += await bench.answers(streams, stored=True)
            unstored += await bench.answers(streams, stored=False)
        print(stored.row(f"{streams} stored", idle))
        print(unstored.row(f"{streams} not stored", idle))
        print(f"{'  ratio':18}{stored.cpu_seconds / unstored.cpu_seconds:16.2f}", flush=True)


async def _first_token(folder: Path) -> None:
    async with (
        environment.started(folder, engine="scripted", pause_seconds=0) as chaos,
        chaos.redis() as redis,
        Bench(chaos.process("gateway-1"), chaos.key, redis).socket() as socket,
    ):
        places = asyncio.Semaphore(1)
        for _ in range(_WARM_UPS):
            await ask(socket, places, tokens=2, stored=True)
        trips = RoundTrips(chaos.redis_proxies[0])
        await trips.quiet()  # the commands after an answer
        await ask(socket, places, tokens=2, stored=True, until="response.output_text.delta")
        found = trips.end()
    print(f"round trips to Redis until a lone user's first token: {len(found)}")
    for trip in found:
        print(f"  {trip}")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
