"""Shutting down: the turns of this gateway continue on another one, at once where there is one."""

import asyncio
import logging
from typing import Protocol

from gateway.errors import Unavailable
from gateway.runtime.ports import CommandSender
from gateway.runtime.registry import TurnRegistry
from gateway.turn.commands import TakeOverTurns

logger = logging.getLogger(__name__)


class Leases(Protocol):
    async def live_peers(self) -> list[str]: ...
    async def release(self) -> None: ...
    def stop_takeovers(self) -> None: ...


class Drain:
    def __init__(
        self, registry: TurnRegistry, leases: Leases, sender: CommandSender, gateway_id: str, *, seconds: float
    ) -> None:
        """`seconds`: how long turns may take to end when no other gateway is alive. What has not ended by then
        continues on the next gateway that starts."""
        self._registry = registry
        self._leases = leases
        self._sender = sender
        self._gateway_id = gateway_id
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """On SIGTERM: the web server waits for its open streams before it shuts the application down. Idempotent."""
        if self._task is None:
            self._registry.close()
            self._leases.stop_takeovers()
            self._task = asyncio.create_task(self._drain())

    async def finish(self) -> None:
        self.start()
        if self._task is not None:
            await self._task

    async def _drain(self) -> None:
        try:
            peers = await self._leases.live_peers()
        except Unavailable:
            peers = []
        if not peers:
            await self._registry.finish(self._seconds)
        await self._registry.release()
        try:
            await self._leases.release()
            for peer in peers:
                await self._sender.send_command(peer, TakeOverTurns(self._gateway_id))
        except Unavailable:
            logger.warning("shut down without releasing the lease; it will expire")
