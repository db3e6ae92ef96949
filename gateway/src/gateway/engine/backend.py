"""One engine of the pool, and its health."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.engine.client import EngineClient
from gateway.errors import Unavailable
from gateway.inference import ServedModel

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Backend:
    """`served_model` is None before the first successful probe and while the backend is ejected.

    `running` counts its streams. `probe_requested` makes the health checker probe without waiting for its interval.
    """

    address: str
    client: EngineClient
    served_model: ServedModel | None = None
    is_ejected: bool = False
    running: int = 0
    probe_requested: asyncio.Event = field(default_factory=asyncio.Event)
    _waits: set[asyncio.Timeout] = field(default_factory=set, init=False)

    @property
    def model(self) -> str | None:
        return self.served_model.id if self.served_model else None

    def admit(self, served_model: ServedModel) -> None:
        if not self.served_model:
            logger.info("engine is serving", extra={"engine": self.address, "model": served_model.id})
        self.served_model, self.is_ejected = served_model, False

    def eject(self, reason: Exception | None) -> None:
        if not self.is_ejected:
            why = type(reason.__cause__ or reason).__name__ if reason else "silence"
            logger.warning("engine ejected", extra={"engine": self.address, "reason": why})
        self.served_model, self.is_ejected = None, True

    @asynccontextmanager
    async def abort_when_dead(self) -> AsyncIterator[None]:
        """Raises Unavailable as soon as a probe of this backend fails."""
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError as exc:
            raise Unavailable("vllm") from exc

    def abort_waits(self) -> None:
        """For streams that have not begun: the balancer can start them on another backend."""
        now = asyncio.get_running_loop().time()
        while self._waits:
            self._waits.pop().reschedule(now)
