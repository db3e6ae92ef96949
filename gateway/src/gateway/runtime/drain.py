"""Leaving: the turns of a gateway that is told to stop go on elsewhere, at once where there is another."""

import asyncio
import logging
from typing import Protocol

from gateway.errors import Unavailable
from gateway.runtime.registry import TurnRegistry

logger = logging.getLogger(__name__)


class Leases(Protocol):
    async def live_peers(self) -> list[str]: ...
    async def leave(self) -> None: ...
    def stop_takeovers(self) -> None: ...


class CommandSender(Protocol):
    async def send_command(self, gateway_id: str, wish: dict[str, str]) -> None: ...


class Drain:
    def __init__(
        self, turns: TurnRegistry, leases: Leases, messenger: CommandSender, gateway_id: str, *, seconds: float
    ) -> None:
        """`seconds`: with nobody to take them the turns have so long to end; what has not by then is gone on with by
        whoever starts next."""
        self._turns = turns
        self._leases = leases
        self._messenger = messenger
        self._gateway_id = gateway_id
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """As soon as we know: the web server waits for its open streams before it asks anybody else."""
        if self._task is None:
            self._turns.close()
            self._leases.stop_takeovers()
            self._task = asyncio.create_task(self._leave())

    async def done(self) -> None:
        self.begin()
        if self._task is not None:
            await self._task

    async def _leave(self) -> None:
        try:
            others = await self._leases.live_peers()
        except Unavailable:
            others = []
        if not others:
            await self._turns.finish(self._seconds)
        await self._turns.release()
        try:
            await self._leases.leave()
            for other in others:
                await self._messenger.send_command(other, {"released": self._gateway_id})
        except Unavailable:
            logger.warning("left without a word: the lease will lapse")
