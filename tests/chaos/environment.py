"""The stack under test: two gateways, each with a proxy that can fail in front of Redis and of the engine."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from anyio.to_thread import run_sync
from redis.asyncio import Redis

from dev.loopback import REQUEST_ERRORS
from dev.process import Process, as_ready
from dev.stack import Plan, Stack
from tests.chaos.disk import Disk, NoDisk
from tests.chaos.proxy import Proxy
from tests.chaos.transports import Endpoint

GATEWAYS = 2
_REDIS, _ENGINE = "GATEWAY_REDIS_URL", "GATEWAY_ENGINE_URL"
# How long an engine may be silent; with the defaults of 30 and 300 s the test would take too long.
_SHORT_TIMEOUTS = {"GATEWAY_ENGINE_TOKEN_SECONDS": "2", "GATEWAY_ENGINE_READ_TIMEOUT_SECONDS": "4"}
_RECOVERY_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Environment:
    """`pause_seconds`: how long a pause or a cut lasts. `redis_proxies` and `engine_proxies` have one proxy for each
    gateway. `no_disk_reason`: why there is no `disk`."""

    stack: Stack
    key: str
    pause_seconds: float
    redis_proxies: list[Proxy]
    engine_proxies: list[Proxy]
    disk: Disk | None
    no_disk_reason: str
    rng: random.Random = field(default_factory=random.Random)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.stack.port, self.key)

    @property
    def engine(self) -> Process:
        return self.stack.engine()

    def process(self, name: str) -> Process:
        return self.engine if name == "engine" else self.stack.processes[name]

    def redis(self) -> Redis:
        """A direct connection, without a proxy, as a user who may run every command."""
        return Redis.from_url(self.stack.redis_admin_url, decode_responses=False)

    async def start(self, *processes: Process) -> None:
        """From this thread: the kernel ends a child when the thread that started it ends. Raises StartFailed."""
        for process in processes:
            process.start()
        await run_sync(lambda: list(as_ready(processes)))

    async def restore(self) -> None:
        """Every process runs and is ready again after any fault."""
        for proxy in (*self.redis_proxies, *self.engine_proxies):
            proxy.restore()
        for process in self.stack.processes.values():
            process.resume()
        await self.start(*(one for one in self.stack.processes.values() if not one.running))
        async with asyncio.timeout(_RECOVERY_SECONDS):
            for process in self.stack.processes.values():
                while not await run_sync(_is_ready, process):
                    await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def started(folder: Path, *, engine: str, pause_seconds: float) -> AsyncGenerator[Environment]:
    """`engine` as in dev.stack.Plan."""
    plan = Plan(folder, engine=engine, gateways=GATEWAYS, gateway=_settings(engine))
    async with AsyncExitStack() as left:
        stack = Stack(plan)
        redis_proxies = [await left.enter_async_context(Proxy()) for _ in range(GATEWAYS)]
        engine_proxies = [await left.enter_async_context(Proxy()) for _ in range(GATEWAYS)]
        _insert_proxies(stack, redis_proxies, engine_proxies)
        disk, no_disk_reason = _disk(folder / "redis")
        if disk is not None:
            left.callback(disk.remove)
        left.push_async_callback(run_sync, stack.stop)
        environment = Environment(stack, "", pause_seconds, redis_proxies, engine_proxies, disk, no_disk_reason)
        await environment.start(*stack.processes.values())
        await run_sync(stack.add_user, "alice", "correct horse battery")
        environment.key = await run_sync(stack.add_key, "alice")
        yield environment


def _is_ready(process: Process) -> bool:
    try:
        return process.command.ready()
    except REQUEST_ERRORS:
        return False


def _settings(engine: str) -> dict[str, str]:
    timeouts = _SHORT_TIMEOUTS if engine == "scripted" else {}
    return {"GATEWAY_TITLES": "off", "GATEWAY_SOCKETS_PER_USER": "4096", "GATEWAY_ANSWERS_PER_USER": "4096", **timeouts}


def _insert_proxies(stack: Stack, redis_proxies: list[Proxy], engine_proxies: list[Proxy]) -> None:
    for number, (redis, engine) in enumerate(zip(redis_proxies, engine_proxies, strict=True), 1):
        redis.target, engine.target = stack.processes["redis"].command.port, stack.engine().command.port
        gateway = stack.gateway(number)
        proxies = {_REDIS: f"redis://127.0.0.1:{redis.port}", _ENGINE: f"http://127.0.0.1:{engine.port}/v1"}
        gateway.command = replace(gateway.command, environment={**gateway.command.environment, **proxies})


def _disk(folder: Path) -> tuple[Disk | None, str]:
    try:
        return Disk(folder), ""
    except NoDisk as exc:
        return None, str(exc)
