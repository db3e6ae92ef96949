"""What one hostile user does to another: `python -m tests.bench.neighbours [--only ATTACK ...] [--seconds 10]`.

Two gateways. A canary user reads one stream of 20 tokens a second from each of them, first alone, then beside each of
the attacks (tests.bench.attacks), one and ten at once, and beside all of them, each of another user. For every row: the
gaps between two tokens of the canaries, the longest response time of `/healthz` (it waits for the event loop and for
nothing else), and the peaks of memory. Each row has a stack of its own.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import aiohttp
import uvloop
from redis.asyncio import Redis
from websockets.asyncio.client import connect

from dev.stack import ROOT, Plan, Stack
from tests.bench.attacks import ATTACKS

GATEWAYS = 2
AT_ONCE = (1, 10)
PACE_SECONDS = 0.05
QUIET_SECONDS = 5.0
MAX_RATIO, MAX_GAP_SECONDS = 2.0, 0.5
_PROBE_SECONDS = 0.02
_SAMPLE_SECONDS = 0.1
_PASSWORD = "correct horse battery"
_MIXTURE = "mixture"


@dataclass(slots=True)
class Observed:
    """`gaps` and `loop_seconds` in seconds; memory in bytes."""

    gaps: list[float]
    loop_seconds: float = 0.0
    gateway_bytes: int = 0
    redis_bytes: int = 0

    @property
    def p99(self) -> float:
        return quantiles(self.gaps, n=100)[98]


class Canaries:
    """One stream from each gateway; a new answer is asked for at once when one has ended."""

    def __init__(self, stack: Stack, key: str) -> None:
        self._stack = stack
        self._key = key
        self._observed: Observed | None = None

    async def run(self) -> None:
        ports = [self._stack.gateway(number).command.port for number in range(1, GATEWAYS + 1)]
        async with asyncio.TaskGroup() as tasks:
            for port in ports:
                tasks.create_task(self._read(port))
                tasks.create_task(self._probe(port))
            tasks.create_task(self._sample())

    async def observe(self, seconds: float) -> Observed:
        pids = [self._stack.gateway(number).pid for number in range(1, GATEWAYS + 1)]
        _reset_peaks(pids)
        self._observed = observed = Observed([])
        await asyncio.sleep(seconds)
        self._observed = None
        observed.gateway_bytes = max(map(_peak_bytes, pids))
        return observed

    async def _read(self, port: int) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        asked = {"type": "response.create", "input": f"[[tokens=400 pace={PACE_SECONDS}]]", "store": True}
        async with connect(f"ws://127.0.0.1:{port}/v1/responses", additional_headers=headers) as socket:
            while True:
                await socket.send(json.dumps(asked))
                last = None
                while (event := json.loads(await socket.recv()))["type"] != "response.completed":
                    if event["type"] in {"error", "response.failed"}:
                        raise RuntimeError(event)
                    if event["type"] != "response.output_text.delta":
                        continue
                    now = time.monotonic()
                    if last is not None and self._observed is not None:
                        self._observed.gaps.append(now - last)
                    last = now

    async def _probe(self, port: int) -> None:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            while True:
                began = time.monotonic()
                async with session.get("/healthz") as response:
                    await response.read()
                if self._observed is not None:
                    self._observed.loop_seconds = max(self._observed.loop_seconds, time.monotonic() - began)
                await asyncio.sleep(_PROBE_SECONDS)

    async def _sample(self) -> None:
        async with Redis.from_url(self._stack.redis_admin_url) as redis:
            while True:
                used = int((await redis.info("memory"))["used_memory"])
                if self._observed is not None:
                    self._observed.redis_bytes = max(self._observed.redis_bytes, used)
                await asyncio.sleep(_SAMPLE_SECONDS)


class AttackProcess:
    def __init__(self, url: str, key: str, name: str, at_once: int, seconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.attacks", url, key, name, str(at_once), str(seconds)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def ready(self) -> None:
        if await asyncio.to_thread(self._line) != "ready":
            raise RuntimeError("the attack could not be prepared")

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    async def statuses(self) -> str:
        return await asyncio.to_thread(self._line)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


async def row(stack: Stack, canary_key: str, attacks: list[AttackProcess], seconds: float) -> tuple[Observed, Observed]:
    """Quiet, and under attack."""
    canaries = Canaries(stack, canary_key)
    for attack in attacks:
        await attack.ready()
    running = asyncio.create_task(canaries.run())
    try:
        await asyncio.sleep(1)  # both streams have begun
        quiet = await canaries.observe(QUIET_SECONDS)
        for attack in attacks:
            attack.begin()
        attacked = await canaries.observe(seconds)
        if running.done():
            running.result()
        return quiet, attacked
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


def measure(name: str, at_once: int, seconds: float) -> bool:
    """Prints a row; returns whether it is within the limits."""
    plan = {"GATEWAY_TITLES": "off"}
    with tempfile.TemporaryDirectory() as folder, Stack(Plan(Path(folder), gateways=GATEWAYS, gateway=plan)) as stack:
        names = list(ATTACKS) if name == _MIXTURE else [name]
        canary = _add_user(stack, "canary")
        # Each with its own storage quota.
        keys = [_add_user(stack, f"mallory-{number}") for number in range(len(names))]
        attacks = [AttackProcess(stack.url, key, one, at_once, seconds) for key, one in zip(keys, names, strict=True)]
        try:
            quiet, attacked = uvloop.run(row(stack, canary, attacks, seconds))
            statuses = [asyncio.run(attack.statuses()) for attack in attacks]
        finally:
            for attack in attacks:
                attack.stop()
    ratio = attacked.p99 / quiet.p99
    passed = ratio <= MAX_RATIO and max(attacked.gaps) <= MAX_GAP_SECONDS
    print(
        f"{name:20}{at_once:4}{quiet.p99 * 1000:9.0f}{attacked.p99 * 1000:9.0f}{ratio:7.2f}"
        f"{max(attacked.gaps) * 1000:9.0f}{attacked.loop_seconds * 1000:9.0f}{attacked.gateway_bytes >> 20:9}"
        f"{attacked.redis_bytes >> 20:9}  {'ok' if passed else 'FAILED':7} {'; '.join(statuses)}",
        flush=True,
    )
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*ATTACKS, _MIXTURE], default=[*ATTACKS, _MIXTURE])
    parser.add_argument("--at-once", nargs="+", type=int, default=AT_ONCE)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    print("milliseconds                 quiet  attacked          longest  longest   MB of    MB of")
    print("attack            at once      p99      p99  ratio      gap    probe  gateway    Redis")
    rows = [measure(name, n, arguments.seconds) for name in arguments.only for n in arguments.at_once]
    if not all(rows):
        sys.exit(f"{rows.count(False)} of {len(rows)} rows exceed {MAX_RATIO} x p99 or {MAX_GAP_SECONDS} s")


def _add_user(stack: Stack, name: str) -> str:
    """Returns an API key."""
    stack.add_user(name, _PASSWORD)
    return stack.add_key(name)


def _reset_peaks(pids: list[int]) -> None:
    for pid in pids:
        # 5: the peak of the resident set begins anew, see proc_pid_clear_refs(5).
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
