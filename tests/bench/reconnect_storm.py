"""Simultaneous reconnects: `python -m tests.bench.reconnect_storm`.

Two thousand sockets follow a few hundred running answers when nginx is killed. All reconnect within five seconds and
resume after their last event: how long until all of them have? Then 256 questions to one gateway at the
same moment.
"""

import asyncio
import resource
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import uvloop
from anyio.to_thread import run_sync

from dev.stack import Plan, Stack
from tests.bench.storm_follower import Follower, Tally

FOLLOWERS = 2000
ANSWERS = 250
USERS = 8
KEYS_PER_USER = 25
JITTER_SECONDS = 5.0
CREATES = 256
_PASSWORD = "correct horse battery"
# Slower than the rate limit, which must not be used up when the storm begins.
_OPENED_PER_SECOND = 125
_CALM_SECONDS = 6.0
_PATIENCE_SECONDS = 60.0
_ENDLESS = "[[tokens=3900 pace=1]]"


@dataclass(slots=True)
class Storm:
    """`resumed_at` is when each follower had its first event after the kill."""

    tally: Tally = field(default_factory=Tally)
    lost: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    resumed_at: dict[int, float] = field(default_factory=dict)
    all_back: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self, followers: list[Follower]) -> None:
        self.waiting = {id(one) for one in followers}
        self.tally.refusals.clear()
        self.tally.broken.clear()

    def event(self, follower: Follower) -> None:
        if id(follower) in self.waiting and id(follower) in self.lost:
            self.waiting.discard(id(follower))
            self.resumed_at[id(follower)] = time.monotonic()
            if not self.waiting:
                self.all_back.set()

    def loss(self, follower: Follower) -> None:
        self.lost.add(id(follower))


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    settings = {"GATEWAY_TITLES": "off", "GATEWAY_SOCKETS_PER_USER": "1024", "GATEWAY_ANSWERS_PER_USER": "1024"}
    with tempfile.TemporaryDirectory() as folder, Stack(Plan(Path(folder), gateway=settings)) as stack:
        keys = [key for number in range(USERS) for key in _keys(stack, f"user{number}")]
        uvloop.run(_storm(stack, keys))
        uvloop.run(_creates(stack, keys[0]))


def _keys(stack: Stack, name: str) -> list[str]:
    """Of a new user: each is introspected on its own."""
    stack.add_user(name, _PASSWORD)
    with httpx2.Client(base_url=stack.url, headers={"Origin": stack.url}) as api:
        api.post("/auth/login", json={"username": name, "password": _PASSWORD}).raise_for_status()
        made = [api.post("/auth/keys", json={"name": f"key {number}"}) for number in range(KEYS_PER_USER)]
    return [one.raise_for_status().json()["key"] for one in made]


async def _storm(stack: Stack, keys: list[str]) -> None:
    storm, tasks = Storm(), []
    answers = await _running_answers(stack, keys)
    followers = [
        Follower(stack.port, *answers[n % len(answers)], storm.tally, storm.event, storm.loss, JITTER_SECONDS)
        for n in range(FOLLOWERS)
    ]
    for follower in followers:
        tasks.append(asyncio.create_task(follower.run()))
        await asyncio.sleep(1 / _OPENED_PER_SECOND)
    await asyncio.sleep(_CALM_SECONDS)
    open_ = sum(one.last >= 0 for one in followers)
    trouble = dict(storm.tally.refusals | storm.tally.broken)
    print(f"{open_} sockets follow {len(answers)} answers; trouble until here: {trouble or 'none'}", flush=True)
    storm.begin([one for one in followers if one.last >= 0])
    nginx, killed = stack.processes["nginx"], time.monotonic()
    await run_sync(nginx.kill)
    nginx.start()
    await run_sync(nginx.wait_ready)
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await storm.all_back.wait()
    except TimeoutError:
        print(f"after {_PATIENCE_SECONDS:.0f} s {len(storm.waiting)} are not back")
    _print_result(storm, killed)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _print_result(storm: Storm, killed: float) -> None:
    seconds = sorted(at - killed for at in storm.resumed_at.values())
    quantiles = statistics.quantiles(seconds, n=20)
    print(f"{len(seconds)} are back, seconds after the kill: p50 {quantiles[9]:.1f}, p95 {quantiles[18]:.1f}, ", end="")
    print(f"all {seconds[-1]:.1f}")
    print(f"refused: {dict(storm.tally.refusals) or 'never'}; cut off, or not connected: {dict(storm.tally.broken)}")
    print(f"events lost or doubled: {storm.tally.gaps}", flush=True)


async def _running_answers(stack: Stack, keys: list[str]) -> list[tuple[str, str]]:
    """Key and response id of each."""
    found: list[tuple[str, str]] = []
    async with httpx2.AsyncClient(base_url=stack.url, timeout=30) as api:
        for number in range(ANSWERS):
            key = keys[number % len(keys)]
            found.append((key, await _created(api, key, _ENDLESS)))
    return found


async def _created(api: httpx2.AsyncClient, key: str, text: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    answer = await api.post("/v1/responses", json={"input": text, "background": True}, headers=headers)
    return str(answer.raise_for_status().json()["id"])


async def _creates(stack: Stack, key: str) -> None:
    """Straight to one gateway, so that no other shares them."""
    url, outcomes = f"http://127.0.0.1:{stack.gateway(1).command.port}", Counter[str]()
    limits = httpx2.Limits(max_connections=CREATES)

    async def create(api: httpx2.AsyncClient) -> None:
        try:
            await _created(api, key, "[[tokens=20 pace=0.05]]")
            outcomes["accepted"] += 1
        except httpx2.HTTPStatusError as exc:
            outcomes[f"{exc.response.status_code}"] += 1
        except httpx2.HTTPError as exc:
            outcomes[type(exc).__name__] += 1

    async with httpx2.AsyncClient(base_url=url, timeout=30, limits=limits) as api:
        started = time.monotonic()
        await asyncio.gather(*(create(api) for _ in range(CREATES)))
    print(f"{CREATES} questions at once to one gateway: {dict(outcomes)} in {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    main()
