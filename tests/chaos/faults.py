"""What is done to the stack. Each fault strikes, lasts, and is over when its function returns: everything runs again,
as whatever watches over a deployment's processes would have it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from anyio.to_thread import run_sync

from dev.process import Process
from tests.chaos.ground import Ground
from tests.chaos.proxy import Proxy

# Short: how long a supervisor takes to notice and start again.
_AWAY_SECONDS = 0.3
_CUT_BYTES = 700
# Of "gateways killed 5 times".
KILLS = 5

Strike = Callable[[Ground], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`doubles_runs`: the engine can not know that whoever asked is frozen, or out of reach, so for a while it makes
    the same answer twice. `cuts_clients`: the followers hang up again and again. `strikes`: so often something is
    broken."""

    name: str
    strike: Strike
    needs_disk: bool = False
    doubles_runs: bool = False
    cuts_clients: bool = False
    long_answers: bool = False
    strikes: int = 1


def _kill(name: str) -> Strike:
    async def strike(ground: Ground) -> None:
        process = _chosen(ground, name)
        await run_sync(process.kill)
        await asyncio.sleep(_AWAY_SECONDS)
        await ground.start(process)

    return strike


def _terminate(name: str) -> Strike:
    async def strike(ground: Ground) -> None:
        process = _chosen(ground, name)
        await run_sync(process.stop)
        await asyncio.sleep(_AWAY_SECONDS)
        await ground.start(process)

    return strike


def _pause(name: str) -> Strike:
    async def strike(ground: Ground) -> None:
        process = _chosen(ground, name)
        process.pause()
        await asyncio.sleep(ground.pause_seconds)
        process.resume()

    return strike


async def _restart_gateways(ground: Ground) -> None:
    for number in range(1, len(ground.to_redis) + 1):
        process = ground.stack.gateway(number)
        await run_sync(process.stop)
        await ground.start(process)


async def _kill_gateways_again_and_again(ground: Ground) -> None:
    """Also those that have just taken something over."""
    for _ in range(KILLS):
        await asyncio.sleep(ground.rng.uniform(0, 1))
        process = _chosen(ground, "gateway")
        await run_sync(process.kill)
        await ground.start(process)


async def _reload_nginx(ground: Ground) -> None:
    os.kill(ground.process("nginx").pid, signal.SIGHUP)


async def _fill_the_disk(ground: Ground) -> None:
    disk, redis = ground.disk, ground.process("redis")
    assert disk is not None
    await run_sync(disk.fill)
    await _ended(redis)
    disk.empty()
    await ground.start(redis)


async def _cut_the_power(ground: Ground) -> None:
    disk, redis = ground.disk, ground.process("redis")
    assert disk is not None
    disk.cut_power()
    await run_sync(redis.kill)
    await run_sync(disk.unmount)
    await run_sync(disk.mount)
    await ground.start(redis)


async def _cut_the_power_of_the_host(ground: Ground) -> None:
    """Everything is gone at once, and what Redis had not on its disk."""
    disk, processes = ground.disk, list(ground.stack.processes.values())
    assert disk is not None
    disk.cut_power()
    for process in processes:
        await run_sync(process.kill)
    await run_sync(disk.unmount)
    await run_sync(disk.mount)
    await ground.start(*processes)


async def _leave_redis_no_memory(ground: Ground) -> None:
    """It can be read, and keeps nothing more."""
    async with ground.redis() as redis:
        limit = (await redis.config_get("maxmemory"))["maxmemory"]
        assert limit is not None
        await redis.config_set("maxmemory", "1")
        await asyncio.sleep(ground.pause_seconds)
        await redis.config_set("maxmemory", limit)


async def _make_redis_read_only(ground: Ground) -> None:
    """As behind a failover: a replica, whose primary is away."""
    async with ground.redis() as redis:
        await redis.replicaof("127.0.0.1", "1")
        await asyncio.sleep(ground.pause_seconds)
        await redis.replicaof("NO", "ONE")


async def _partition_a_gateway(ground: Ground) -> None:
    """It lives, its clients reach it, and Redis does not."""
    cable = ground.rng.choice(ground.to_redis)
    cable.stall()
    await asyncio.sleep(ground.pause_seconds)
    cable.sound()


def _stall(cables: Callable[[Ground], list[Proxy]]) -> Strike:
    async def strike(ground: Ground) -> None:
        for cable in cables(ground):
            cable.stall()
        await asyncio.sleep(ground.pause_seconds)
        for cable in cables(ground):
            cable.sound()

    return strike


def _refuse(cables: Callable[[Ground], list[Proxy]]) -> Strike:
    """RST for every connection and for every try of another."""

    async def strike(ground: Ground) -> None:
        for cable in cables(ground):
            cable.refuse()
            cable.reset()
        await asyncio.sleep(ground.pause_seconds / 4)
        for cable in cables(ground):
            cable.sound()

    return strike


def _each(cables: Callable[[Ground], list[Proxy]], act: Callable[[Proxy], None]) -> Strike:
    async def strike(ground: Ground) -> None:
        for cable in cables(ground):
            act(cable)

    return strike


async def _nothing(_: Ground) -> None:
    return


def _redis(ground: Ground) -> list[Proxy]:
    return ground.to_redis


def _engine(ground: Ground) -> list[Proxy]:
    return ground.to_engine


FAULTS = (
    Fault("none", _nothing, strikes=0),
    Fault("clients cut", _nothing, cuts_clients=True),
    Fault("nginx kill -9", _kill("nginx")),
    Fault("nginx SIGTERM", _terminate("nginx")),
    Fault("nginx reload", _reload_nginx),
    Fault("nginx paused", _pause("nginx")),
    Fault("gateway kill -9", _kill("gateway")),
    Fault("gateways killed 5 times", _kill_gateways_again_and_again, long_answers=True, strikes=KILLS),
    Fault("gateway SIGTERM", _terminate("gateway")),
    Fault("gateways rolling restart", _restart_gateways, strikes=2),
    Fault("gateway paused", _pause("gateway"), doubles_runs=True),
    Fault("gateway cut off from redis", _partition_a_gateway, doubles_runs=True),
    Fault("auth-service kill -9", _kill("auth-service")),
    Fault("auth-service SIGTERM", _terminate("auth-service")),
    Fault("auth-service paused", _pause("auth-service")),
    Fault("redis kill -9", _kill("redis")),
    Fault("redis SIGTERM", _terminate("redis")),
    Fault("redis paused", _pause("redis")),
    Fault("redis cut off, RST", _refuse(_redis)),
    Fault("redis cut off, stalled", _stall(_redis)),
    Fault("redis half-open", _each(_redis, Proxy.forget)),
    Fault("redis cut inside a reply", _each(_redis, lambda cable: cable.cut_after(_CUT_BYTES))),
    Fault("redis out of memory", _leave_redis_no_memory),
    Fault("redis read-only", _make_redis_read_only),
    Fault("redis disk full", _fill_the_disk, needs_disk=True),
    Fault("redis power cut", _cut_the_power, needs_disk=True),
    Fault("host power cut", _cut_the_power_of_the_host, needs_disk=True),
    Fault("engine kill -9", _kill("engine")),
    Fault("engine SIGTERM", _terminate("engine")),
    Fault("engine paused", _pause("engine"), doubles_runs=True),
    Fault("engine cut off, RST", _refuse(_engine)),
    Fault("engine cut off, stalled", _stall(_engine), doubles_runs=True),
    Fault("engine half-open", _each(_engine, Proxy.forget), doubles_runs=True),
    Fault("engine cut inside an event", _each(_engine, lambda cable: cable.cut_after(_CUT_BYTES))),
)


def _chosen(ground: Ground, name: str) -> Process:
    if name != "gateway":
        return ground.process(name)
    return ground.stack.gateway(ground.rng.randint(1, len(ground.to_redis)))


async def _ended(process: Process) -> None:
    while process.running:
        await asyncio.sleep(0.05)
