"""Shutting down with a running turn: two gateways on one Redis."""

from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.errors import Unavailable
from gateway.protocol.create import ResponseCreate
from gateway.runtime.drain import Drain
from gateway.store.leases import Leases
from tests.contract import conformance
from tests.gateway.replica import FakeEngine, collect_events, replica, text_stream


async def release_commands(redis: Redis, name: str) -> list[bytes]:
    found: Any = await redis.xrange(f"parley:gateway:{name}:control")
    return [fields[b"released"] for _, fields in found if b"released" in fields]


async def test_a_live_peer_is_notified_at_once_and_finds_the_turns(redis: Redis, port: int) -> None:
    leases, peer = Leases(redis, "g1"), Leases(redis, "g2")
    await leases.renew()
    await peer.renew()
    async with replica(port, FakeEngine(*text_stream("text"))) as gateway:
        await gateway.begin_held_turn()
        await Drain(gateway.registry, leases, gateway.reader, "g1", seconds=60).finish()
    assert b"g1" in await release_commands(redis, "g2")
    assert not await peer.is_alive("g1")
    assert len(await peer.list_turns("g1")) == 1


async def test_without_a_live_peer_the_turns_run_to_their_end(redis: Redis, port: int) -> None:
    async with replica(port, FakeEngine(*text_stream("text"))) as gateway:
        running = await gateway.begin_held_turn()
        drain = Drain(gateway.registry, Leases(redis, "g1"), gateway.reader, "g1", seconds=60)
        drain.start()
        gateway.proceed()
        await drain.finish()
        assert conformance.stream(await collect_events(running))["status"] == "completed"


async def test_a_drain_finishes_without_redis(redis: Redis, port: int) -> None:
    class UnreachableLeases(Leases):
        async def live_peers(self) -> list[str]:
            raise Unavailable("redis")

        async def release(self) -> None:
            raise Unavailable("redis")

    async with replica(port, FakeEngine(*text_stream("text"))) as gateway:
        await gateway.begin_held_turn()
        await Drain(gateway.registry, UnreachableLeases(redis, "g1"), gateway.reader, "g1", seconds=0).finish()
        assert gateway.registry.stored == []
        assert gateway.engine.closed.is_set()


async def test_a_draining_gateway_starts_no_new_turn(redis: Redis, port: int) -> None:
    async with replica(port) as gateway:
        drain = Drain(gateway.registry, Leases(redis, "g1"), gateway.reader, "g1", seconds=0)
        drain.start()
        with pytest.raises(Unavailable):
            await gateway.begin_turn(ResponseCreate(input="go"))
        await drain.finish()
        assert gateway.engine.prompt_calls == []
