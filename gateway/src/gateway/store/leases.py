"""Which gateway is alive, and which turns each has: what another takes over when it dies.

    parley:gateways             set: every gateway that has, or had, a turn
    parley:gateway:ID:alive     string that expires: the lease on all turns of a gateway, renewed every 0.4 s
    parley:gateway:ID:turns     set: `USER RESPONSE` of each turn it runs

One lease a process instead of one a turn: they end together anyway, and a thousand turns cost no more than one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis

from gateway.errors import Unavailable
from gateway.store.errors import translated

logger = logging.getLogger(__name__)

LEASE_SECONDS = 1.6
HEARTBEAT_SECONDS = 0.4
# A connection that says nothing must leave time for another within the lease.
_RENEWAL_SECONDS = 0.5
_GATEWAYS = "parley:gateways"

OwnedTurn = tuple[str, str]
"""User id and response id."""


class Leases:
    def __init__(self, redis: Redis, gateway_id: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._redis = redis
        self._gateway_id = gateway_id
        self._lease_ms = int(lease_seconds * 1000)
        self._missing: set[str] = set()
        self._released: set[str] = set()
        self._stale: set[str] = set()
        self._held = self._leaving = self._left = self._lapsed = False
        self._now = asyncio.Event()

    async def run_heartbeat(self, on_expired: Callable[[], Awaitable[None]]) -> None:
        """Renews this gateway's lease until cancelled. `on_expired` is called after a renewal that came too late: other
        gateways may have taken over its turns."""
        while True:
            try:
                async with asyncio.timeout(_RENEWAL_SECONDS):
                    self._lapsed |= await self.renew()
                if self._lapsed and not self._left:
                    await on_expired()
                self._lapsed = False
            except (Unavailable, TimeoutError):
                self._held = False
            except Exception:
                logger.exception("looking after our own turns failed")
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def run_sweeper(self, take_over: Callable[[str], Awaitable[None]]) -> None:
        """Until cancelled: gives `take_over` the id of each that gave its turns away, or let its lease lapse."""
        while True:
            try:
                # Whoever can not renew judges nobody, and whoever leaves takes nothing any more.
                if self._held and not self._leaving:
                    await self._sweep(take_over)
            except Unavailable:
                self._missing.clear()  # whoever could not renew for the same reason is not dead
            except Exception:
                logger.exception("looking after other gateways' turns failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._now.wait()
            self._now.clear()

    def released(self, gateway_id: str) -> None:
        """It has given its turns away: they are taken over at once."""
        self._released.add(gateway_id)
        self._now.set()

    def stop_takeovers(self) -> None:
        """Takes nothing over any more: two that leave at once would hand each other what both have given away."""
        self._leaving = True

    async def renew(self) -> bool:
        """Whether the lease had lapsed, as it has before the first time."""
        if self._left:
            return False
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            # Longer, not anew: a Redis that is full refuses only what would take room.
            pipe.pexpire(_alive(self._gateway_id), self._lease_ms)
            if stale := tuple(self._stale):
                pipe.srem(_turns(self._gateway_id), *stale)
            held, *_ = await pipe.execute()
            if not held:
                pipe.sadd(_GATEWAYS, self._gateway_id)
                pipe.set(_alive(self._gateway_id), "1", px=self._lease_ms)
                await pipe.execute()
        self._stale.difference_update(stale)
        self._held = True
        return not held

    async def add(self, user_id: str, response_id: str) -> None:
        """Before the turn is accepted: then a gateway that dies at once leaves nothing behind that nobody finds."""
        turn = f"{user_id} {response_id}"
        self._stale.discard(turn)
        async with translated(), self._redis.pipeline(transaction=False) as pipe:
            # Its list may have been found empty, and the gateway forgotten, at this moment.
            pipe.sadd(_GATEWAYS, self._gateway_id)
            pipe.sadd(_turns(self._gateway_id), turn)
            await pipe.execute()

    async def remove(self, user_id: str, response_id: str, *, of: str | None = None) -> None:
        """Idempotent. One's own that fails is done with the next renewal, another's by the next sweep."""
        turn = f"{user_id} {response_id}"
        try:
            await self._do(self._redis.srem(_turns(of or self._gateway_id), turn))
        except Unavailable:
            if of is None:
                self._stale.add(turn)
            raise

    async def turns(self, gateway_id: str) -> list[OwnedTurn]:
        found = await self._do(self._redis.smembers(_turns(gateway_id)))
        return [(user, response) for user, _, response in (one.decode().partition(" ") for one in sorted(found))]

    async def is_alive(self, gateway_id: str) -> bool:
        return bool(await self._do(self._redis.exists(_alive(gateway_id))))

    async def live_peers(self) -> list[str]:
        """The other gateways that are alive."""
        ids = [one for one in await self._gateways() if one != self._gateway_id]
        return [one for one in ids if await self.is_alive(one)]

    async def release(self) -> None:
        """Gives up the lease; the turns stay listed for whoever comes."""
        self._left = True
        await self._do(self._redis.delete(_alive(self._gateway_id)))

    async def forget(self, gateway_id: str) -> None:
        """A dead gateway that has no turn left. Its list goes only when it is empty."""
        await self._do(self._redis.srem(_GATEWAYS, gateway_id))

    async def _sweep(self, take_over: Callable[[str], Awaitable[None]]) -> None:
        """Twice missed is dead: behind a restart of Redis everybody is late once. Whoever gave its turns away is asked
        about between two beats, and nobody else then."""
        released, self._released = self._released, set()
        for gateway_id in sorted(released):
            if not await self.is_alive(gateway_id):
                await take_over(gateway_id)
        if released:
            return
        ids = [one for one in await self._gateways() if one != self._gateway_id]
        missing = {one for one in ids if not await self.is_alive(one)}
        dead, self._missing = missing & self._missing, missing
        for gateway_id in sorted(dead):
            await take_over(gateway_id)

    async def _gateways(self) -> list[str]:
        return sorted(one.decode() for one in await self._do(self._redis.smembers(_GATEWAYS)))

    async def _do(self, command: Any) -> Any:
        async with translated():
            return await command


def _alive(gateway_id: str) -> str:
    return f"parley:gateway:{gateway_id}:alive"


def _turns(gateway_id: str) -> str:
    return f"parley:gateway:{gateway_id}:turns"
