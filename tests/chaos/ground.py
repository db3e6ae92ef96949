"""The stack on trial: two gateways, and between each and what it needs a cable that can fail."""

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
from tests.chaos.transports import Place

GATEWAYS = 2
_REDIS, _ENGINE = "GATEWAY_REDIS_URL", "GATEWAY_ENGINE_URL"
# An engine that says nothing for so long is asked again; the defaults' 30 and 300 would be a long test.
_IMPATIENT = {"GATEWAY_ENGINE_TOKEN_SECONDS": "2", "GATEWAY_ENGINE_READ_TIMEOUT_SECONDS": "4"}
_HEALED_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass(slots=True)
class Ground:
    """`pause_seconds`: how long what is paused, or cut off, stays so. `to_redis` and `to_engine` have a cable for each
    gateway. `no_disk` tells why there is no `disk`."""

    stack: Stack
    key: str
    pause_seconds: float
    to_redis: list[Proxy]
    to_engine: list[Proxy]
    disk: Disk | None
    no_disk: str
    rng: random.Random = field(default_factory=random.Random)

    @property
    def place(self) -> Place:
        return Place(self.stack.port, self.key)

    @property
    def engine(self) -> Process:
        return self.stack.engine()

    def process(self, name: str) -> Process:
        return self.engine if name == "engine" else self.stack.processes[name]

    def redis(self) -> Redis:
        """Straight, past all cables, as a user who may do everything."""
        return Redis.from_url(self.stack.redis_admin_url, decode_responses=False)

    async def start(self, *processes: Process) -> None:
        """From this thread: the kernel ends a child when the thread that started it ends. Raises StartFailed."""
        for process in processes:
            process.start()
        await run_sync(lambda: list(as_ready(processes)))

    async def heal(self) -> None:
        """Everything runs and is ready again, whatever was done to it."""
        for cable in (*self.to_redis, *self.to_engine):
            cable.sound()
        for process in self.stack.processes.values():
            process.resume()
        await self.start(*(one for one in self.stack.processes.values() if not one.running))
        async with asyncio.timeout(_HEALED_SECONDS):
            for process in self.stack.processes.values():
                while not await run_sync(_is_ready, process):
                    await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def opened(folder: Path, *, engine: str, pause_seconds: float) -> AsyncGenerator[Ground]:
    """`engine` as in dev.stack.Plan."""
    plan = Plan(folder, engine=engine, gateways=GATEWAYS, gateway=_settings(engine))
    async with AsyncExitStack() as left:
        stack = Stack(plan)
        to_redis = [await left.enter_async_context(Proxy()) for _ in range(GATEWAYS)]
        to_engine = [await left.enter_async_context(Proxy()) for _ in range(GATEWAYS)]
        _rewire(stack, to_redis, to_engine)
        disk, no_disk = _disk(folder / "redis")
        if disk is not None:
            left.callback(disk.remove)
        left.push_async_callback(run_sync, stack.stop)
        ground = Ground(stack, "", pause_seconds, to_redis, to_engine, disk, no_disk)
        await ground.start(*stack.processes.values())
        await run_sync(stack.add_user, "alice", "correct horse battery")
        ground.key = await run_sync(stack.add_key, "alice")
        yield ground


def _is_ready(process: Process) -> bool:
    try:
        return process.command.ready()
    except REQUEST_ERRORS:
        return False


def _settings(engine: str) -> dict[str, str]:
    patience = _IMPATIENT if engine == "scripted" else {}
    return {"GATEWAY_TITLES": "off", "GATEWAY_SOCKETS_PER_USER": "4096", **patience}


def _rewire(stack: Stack, to_redis: list[Proxy], to_engine: list[Proxy]) -> None:
    for number, (redis, engine) in enumerate(zip(to_redis, to_engine, strict=True), 1):
        redis.target, engine.target = stack.processes["redis"].command.port, stack.engine().command.port
        gateway = stack.gateway(number)
        cables = {_REDIS: f"redis://127.0.0.1:{redis.port}", _ENGINE: f"http://127.0.0.1:{engine.port}/v1"}
        gateway.command = replace(gateway.command, environment={**gateway.command.environment, **cables})


def _disk(folder: Path) -> tuple[Disk | None, str]:
    try:
        return Disk(folder), ""
    except NoDisk as exc:
        return None, str(exc)
