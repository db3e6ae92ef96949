"""Two gateways on one Redis, and a takeover from one to the other."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from gateway.runtime.takeover import Takeover
from gateway.store.history.responses import ResponseStore
from gateway.store.leases import Leases
from gateway.store.turn_log.fencing import Segments
from tests.contract import conformance
from tests.gateway.builders import Wire, background_task, log_writer
from tests.gateway.replica import Replica, collect_events

TEXT = "a lighthouse keeper"


@asynccontextmanager
async def takeover_by(
    gateway: Replica,
    redis: Redis,
    segments: type[Segments] = Segments,
    name: str = "g2",
    responses: type[ResponseStore] = ResponseStore,
) -> AsyncIterator[Takeover]:
    """The takeover of a replica with the id `name`, and a running writer."""
    writer = log_writer(redis, name)
    async with background_task(writer.run()):
        yield Takeover(
            Leases(redis, name),
            segments(redis),
            responses(redis),
            gateway.preparation,
            gateway.registry,
            writer,
            gateway_id=name,
        )


async def abandon_turn(owner: Replica) -> str:
    """Returns the id of a turn that stopped after its first letter, as if its gateway had died."""
    return (await owner.begin_held_turn()).request.response_id


async def count_listed(redis: Redis, name: str) -> int:
    return int(await redis.scard(f"parley:gateway:{name}:turns"))


async def final_response(successor: Replica, response_id: str) -> Wire:
    running = successor.registry.find("user_1", response_id)
    assert running is not None
    return conformance.stream(await collect_events(running))
