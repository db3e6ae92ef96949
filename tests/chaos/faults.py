"""The faults. Each function injects its fault, waits, and returns when every process runs again, as under a
supervisor."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from anyio.to_thread import run_sync

from dev.process import Process
from tests.chaos.environment import Environment
from tests.chaos.proxy import Proxy

# As long as a supervisor needs to notice the exit and restart the process.
_DOWN_SECONDS = 0.3
_CUT_BYTES = 700
# Of "gateways killed 5 times".
KILLS = 5

Injection = Callable[[Environment], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """`allows_two_runs`: the engine cannot know that its client is frozen or unreachable, so for a while it generates
    the same answer twice. `disconnects_clients`: the followers disconnect repeatedly. `count`: the number of single
    faults."""

    name: str
    inject: Injection
    requires_disk: bool = False
    allows_two_runs: bool = False
    disconnects_clients: bool = False
    long_answers: bool = False
    count: int = 1


def _kill(name: str) -> Injection:
    async def inject(environment: Environment) -> None:
        process = _pick(environment, name)
        await run_sync(process.kill)
        await asyncio.sleep(_DOWN_SECONDS)
        await environment.start(process)

    return inject


def _terminate(name: str) -> Injection:
    async def inject(environment: Environment) -> None:
        process = _pick(environment, name)
        await run_sync(process.stop)
        await asyncio.sleep(_DOWN_SECONDS)
        await environment.start(process)

    return inject


def _pause(name: str) -> Injection:
    async def inject(environment: Environment) -> None:
        process = _pick(environment, name)
        process.pause()
        await asyncio.sleep(environment.pause_seconds)
        process.resume()

    return inject


async def _restart_gateways(environment: Environment) -> None:
    for number in range(1, len(environment.redis_proxies) + 1):
        process = environment.stack.gateway(number)
        await run_sync(process.stop)
        await environment.start(process)


async def _kill_gateways_repeatedly(environment: Environment) -> None:
    """Also gateways that have just taken over an answer."""
    for _ in range(KILLS):
        await asyncio.sleep(environment.rng.uniform(0, 1))
        process = _pick(environment, "gateway")
        await run_sync(process.kill)
        await environment.start(process)


async def _reload_nginx(environment: Environment) -> None:
    os.kill(environment.process("nginx").pid, signal.SIGHUP)


async def _fill_the_disk(environment: Environment) -> None:
    disk, redis = environment.disk, environment.process("redis")
    assert disk is not None
    await run_sync(disk.fill)
    await _ended(redis)
    disk.empty()
    await environment.start(redis)


async def _cut_the_power(environment: Environment) -> None:
    disk, redis = environment.disk, environment.process("redis")
    assert disk is not None
    disk.cut_power()
    await run_sync(redis.kill)
    await run_sync(disk.unmount)
    await run_sync(disk.mount)
    await environment.start(redis)


async def _cut_the_power_of_the_host(environment: Environment) -> None:
    """Every process dies at once, and Redis loses what was not on its disk."""
    disk, processes = environment.disk, list(environment.stack.processes.values())
    assert disk is not None
    disk.cut_power()
    for process in processes:
        await run_sync(process.kill)
    await run_sync(disk.unmount)
    await run_sync(disk.mount)
    await environment.start(*processes)


async def _leave_redis_no_memory(environment: Environment) -> None:
    """It can be read but stores nothing more."""
    async with environment.redis() as redis:
        limit = (await redis.config_get("maxmemory"))["maxmemory"]
        assert limit is not None
        await redis.config_set("maxmemory", "1")
        await asyncio.sleep(environment.pause_seconds)
        await redis.config_set("maxmemory", limit)


async def _make_redis_read_only(environment: Environment) -> None:
    """As after a failover: a replica whose primary is down."""
    async with environment.redis() as redis:
        await redis.replicaof("127.0.0.1", "1")
        await asyncio.sleep(environment.pause_seconds)
        await redis.replicaof("NO", "ONE")


async def _partition_a_gateway(environment: Environment) -> None:
    """Clients can reach it, but it cannot reach Redis."""
    proxy = environment.rng.choice(environment.redis_proxies)
    proxy.stall()
    await asyncio.sleep(environment.pause_seconds)
    proxy.restore()


def _stall(proxies: Callable[[Environment], list[Proxy]]) -> Injection:
    async def inject(environment: Environment) -> None:
        for proxy in proxies(environment):
            proxy.stall()
        await asyncio.sleep(environment.pause_seconds)
        for proxy in proxies(environment):
            proxy.restore()

    return inject


def _refuse(proxies: Callable[[Environment], list[Proxy]]) -> Injection:
    """RST for every open connection and for every new one."""

    async def inject(environment: Environment) -> None:
        for proxy in proxies(environment):
            proxy.refuse()
            proxy.reset()
        await asyncio.sleep(environment.pause_seconds / 4)
        for proxy in proxies(environment):
            proxy.restore()

    return inject


def _each(proxies: Callable[[Environment], list[Proxy]], act: Callable[[Proxy], None]) -> Injection:
    async def inject(environment: Environment) -> None:
        for proxy in proxies(environment):
            act(proxy)

    return inject


async def _do_nothing(_: Environment) -> None:
    return


def _redis(environment: Environment) -> list[Proxy]:
    return environment.redis_proxies


def _engine(environment: Environment) -> list[Proxy]:
    return environment.engine_proxies


FAULTS = (
    Fault("none", _do_nothing, count=0),
    Fault("clients cut", _do_nothing, disconnects_clients=True),
    Fault("nginx kill -9", _kill("nginx")),
    Fault("nginx SIGTERM", _terminate("nginx")),
    Fault("nginx reload", _reload_nginx),
    Fault("nginx paused", _pause("nginx")),
    Fault("gateway kill -9", _kill("gateway")),
    Fault("gateways killed 5 times", _kill_gateways_repeatedly, long_answers=True, count=KILLS),
    Fault("gateway SIGTERM", _terminate("gateway")),
    Fault("gateways rolling restart", _restart_gateways, count=2),
    Fault("gateway paused", _pause("gateway"), allows_two_runs=True),
    Fault("gateway cut off from redis", _partition_a_gateway, allows_two_runs=True),
    Fault("auth-service kill -9", _kill("auth-service")),
    Fault("auth-service SIGTERM", _terminate("auth-service")),
    Fault("auth-service paused", _pause("auth-service")),
    Fault("redis kill -9", _kill("redis")),
    Fault("redis SIGTERM", _terminate("redis")),
    Fault("redis paused", _pause("redis")),
    Fault("redis cut off, RST", _refuse(_redis)),
    Fault("redis cut off, stalled", _stall(_redis)),
    Fault("redis half-open", _each(_redis, Proxy.forget)),
    Fault("redis cut inside a reply", _each(_redis, lambda proxy: proxy.cut_after(_CUT_BYTES))),
    Fault("redis out of memory", _leave_redis_no_memory),
    Fault("redis read-only", _make_redis_read_only),
    Fault("redis disk full", _fill_the_disk, requires_disk=True),
    Fault("redis power cut", _cut_the_power, requires_disk=True),
    Fault("host power cut", _cut_the_power_of_the_host, requires_disk=True),
    Fault("engine kill -9", _kill("engine")),
    Fault("engine SIGTERM", _terminate("engine")),
    Fault("engine paused", _pause("engine"), allows_two_runs=True),
    Fault("engine cut off, RST", _refuse(_engine)),
    Fault("engine cut off, stalled", _stall(_engine), allows_two_runs=True),
    Fault("engine half-open", _each(_engine, Proxy.forget), allows_two_runs=True),
    Fault("engine cut inside an event", _each(_engine, lambda proxy: proxy.cut_after(_CUT_BYTES))),
)


def _pick(environment: Environment, name: str) -> Process:
    if name != "gateway":
        return environment.process(name)
    return environment.stack.gateway(environment.rng.randint(1, len(environment.redis_proxies)))


async def _ended(process: Process) -> None:
    while process.running:
        await asyncio.sleep(0.05)
