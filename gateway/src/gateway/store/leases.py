"""Which gateways are alive, and the turns of each: what another gateway takes over when one dies.

One lease per process instead of one per turn: they would expire together anyway, and a thousand turns cost no more than
one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto
from typing import Any

from redis.asyncio import Redis

from gateway.errors import Unavailable
from gateway.store.errors import translate_redis_errors
from gateway.store.keys import GATEWAYS_KEY, lease_key, turns_key

logger = logging.getLogger(__name__)

LEASE_SECONDS = 1.6
HEARTBEAT_SECONDS = 0.4
# A connection that does not reply must leave time for another one within the lease.
_RENEWAL_TIMEOUT_SECONDS = 0.5

OwnedTurn = tuple[str, str]
"""User id and response id."""


class LeaseState(Enum):
    # Not renewed yet, or the last renewal failed.
    PENDING = auto()
    HELD = auto()
    # Renewed until the turns are released; takes nothing over.
    DRAINING = auto()
    # Never renewed again.
    RELEASED = auto()


class Leases:
    def __init__(self, redis: Redis, gateway_id: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._redis = redis
        self._gateway_id = gateway_id
        self._lease_ms = int(lease_seconds * 1000)
        self._state = LeaseState.PENDING
        self._missing: set[str] = set()
        self._released: set[str] = set()
        self._unremoved: set[str] = set()
        self._sweep_due = asyncio.Event()

    async def run_heartbeat(self, on_expired: Callable[[], Awaitable[None]]) -> None:
        """Renews this gateway's lease until cancelled. `on_expired` is called after a renewal that came too late: other
        gateways may have taken over its turns."""
        had_expired = False
        while True:
            try:
                async with asyncio.timeout(_RENEWAL_TIMEOUT_SECONDS):
                    had_expired |= await self.renew()
                if had_expired and self._state is not LeaseState.RELEASED:
                    await on_expired()
                had_expired = False
            except (Unavailable, TimeoutError):
                self._change(LeaseState.HELD, LeaseState.PENDING)
            except Exception:
                logger.exception("renewing the lease failed")
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def run_sweeper(self, take_over: Callable[[str], Awaitable[None]]) -> None:
        """Until cancelled: calls `take_over` with the id of each gateway that released its turns, or whose lease has
        expired."""
        while True:
            try:
                # A gateway that cannot renew its own lease must not judge others.
                if self._state is LeaseState.HELD:
                    await self._sweep(take_over)
            except Unavailable:
                self._missing.clear()  # others may have failed to renew for the same reason
            except Exception:
                logger.exception("looking for gateways without a lease failed")
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._sweep_due.wait()
            self._sweep_due.clear()

    def sweep_soon(self, gateway_id: str) -> None:
        """The gateway has released its turns: they are taken over at once."""
        self._released.add(gateway_id)
        self._sweep_due.set()

    def stop_takeovers(self) -> None:
        """Two gateways that shut down at once would otherwise hand each other the turns that both have released."""
        if self._state is not LeaseState.RELEASED:
            self._state = LeaseState.DRAINING

    async def renew(self) -> bool:
        """Returns whether the lease had expired, as it has before the first renewal."""
        if self._state is LeaseState.RELEASED:
            return False
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            # Extended, not set again: a Redis that is full refuses only what needs room.
            pipe.pexpire(lease_key(self._gateway_id), self._lease_ms)
            if unremoved := tuple(self._unremoved):
                pipe.srem(turns_key(self._gateway_id), *unremoved)
            is_extended, *_ = await pipe.execute()
            if not is_extended:
                pipe.sadd(GATEWAYS_KEY, self._gateway_id)
                pipe.set(lease_key(self._gateway_id), "1", px=self._lease_ms)
                await pipe.execute()
        self._unremoved.difference_update(unremoved)
        self._change(LeaseState.PENDING, LeaseState.HELD)
        return not is_extended

    async def add_turn(self, user_id: str, response_id: str) -> None:
        """Before the turn is accepted: if this gateway dies at once, another one finds the turn."""
        turn = f"{user_id} {response_id}"
        self._unremoved.discard(turn)
        async with translate_redis_errors(), self._redis.pipeline(transaction=False) as pipe:
            # Another gateway may just have found the list empty, and forgotten this one.
            pipe.sadd(GATEWAYS_KEY, self._gateway_id)
            pipe.sadd(turns_key(self._gateway_id), turn)
            await pipe.execute()

    async def remove_turn(self, user_id: str, response_id: str, *, of: str | None = None) -> None:
        """Idempotent. If it fails, the next renewal removes an own turn, the next sweep another gateway's."""
        turn = f"{user_id} {response_id}"
        try:
            await self._execute(self._redis.srem(turns_key(of or self._gateway_id), turn))
        except Unavailable:
            if of is None:
                self._unremoved.add(turn)
            raise

    async def list_turns(self, gateway_id: str) -> list[OwnedTurn]:
        found = await self._execute(self._redis.smembers(turns_key(gateway_id)))
        return [(user, response) for user, _, response in (turn.decode().partition(" ") for turn in sorted(found))]

    async def is_alive(self, gateway_id: str) -> bool:
        return bool(await self._execute(self._redis.exists(lease_key(gateway_id))))

    async def live_peers(self) -> list[str]:
        """The other gateways that are alive."""
        return [gateway_id for gateway_id in await self._peers() if await self.is_alive(gateway_id)]

    async def release(self) -> None:
        """Gives up the lease; the turns stay listed for other gateways."""
        self._state = LeaseState.RELEASED
        await self._execute(self._redis.delete(lease_key(self._gateway_id)))

    async def forget_gateway(self, gateway_id: str) -> None:
        """A dead one without turns. Its list is gone by itself: Redis deletes an empty set."""
        await self._execute(self._redis.srem(GATEWAYS_KEY, gateway_id))

    async def _sweep(self, take_over: Callable[[str], Awaitable[None]]) -> None:
        """A lease missing from two sweeps in a row is dead: after a restart of Redis all gateways are late once. A
        sweep for released turns comes between two heartbeats, so it does not count as one of the two."""
        released, self._released = self._released, set()
        for gateway_id in sorted(released):
            if not await self.is_alive(gateway_id):
                await take_over(gateway_id)
        if released:
            return
        missing = {gateway_id for gateway_id in await self._peers() if not await self.is_alive(gateway_id)}
        dead, self._missing = missing & self._missing, missing
        for gateway_id in sorted(dead):
            await take_over(gateway_id)

    def _change(self, old: LeaseState, new: LeaseState) -> None:
        """Keeps any other state."""
        if self._state is old:
            self._state = new

    async def _peers(self) -> list[str]:
        found = await self._execute(self._redis.smembers(GATEWAYS_KEY))
        return sorted({gateway_id.decode() for gateway_id in found} - {self._gateway_id})

    async def _execute(self, command: Any) -> Any:
        async with translate_redis_errors():
            return await command
