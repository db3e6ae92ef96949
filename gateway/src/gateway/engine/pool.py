"""The engines of a deployment, and which of them take requests."""

import logging
from collections.abc import Callable

from gateway.engine.addresses import Addresses
from gateway.engine.backend import Backend
from gateway.engine.client import EngineClient
from gateway.engine.ranking import order_by_preference
from gateway.inference import ServedModel

logger = logging.getLogger(__name__)


class EnginePool:
    """`connect` creates the client of one engine. Without a HealthChecker no backend becomes healthy."""

    def __init__(self, addresses: Addresses, connect: Callable[[str], EngineClient]) -> None:
        self.may_be_several = addresses.may_be_several
        self._addresses = addresses
        self._connect = connect
        self._backends: dict[str, Backend] = {}
        self._removed: list[Backend] = []
        self._mismatched: set[Backend] = set()
        self._update()

    async def close(self) -> None:
        for backend in (*self._backends.values(), *self._removed):
            await backend.client.close()

    @property
    def backends(self) -> list[Backend]:
        return list(self._backends.values())

    @property
    def healthy(self) -> list[Backend]:
        """Only those with the first one's model: no other model could continue its answers."""
        serving = [backend for backend in self._backends.values() if backend.served_model]
        return [backend for backend in serving if backend.model == serving[0].model]

    def order(self, affinity: str) -> list[Backend]:
        """The healthy backends, first choice first; all backends while none is healthy."""
        candidates = self.healthy or self.backends
        if len(candidates) < 2:
            return candidates
        running = {backend.address: backend.running for backend in candidates}
        return [self._backends[address] for address in order_by_preference(affinity, running)]

    def report_failure(self, backend: Backend, reason: Exception | None = None) -> None:
        """Ejects a healthy backend until the next probe succeeds. Without `reason`: it fell silent."""
        if backend.served_model:
            backend.eject(reason)
            backend.probe_requested.set()

    def report_serving(self, backend: Backend, served_model: ServedModel) -> None:
        backend.admit(served_model)
        self._log_mismatched_models()

    async def refresh(self) -> None:
        """Follows changes of the addresses. A removed backend is closed after its last stream."""
        await self._addresses.refresh()
        self._update()

    async def close_removed(self) -> None:
        for backend in [backend for backend in self._removed if not backend.running]:
            self._removed.remove(backend)
            await backend.client.close()

    def _update(self) -> None:
        urls, known = self._addresses.urls, self._backends
        self._removed += [backend for url, backend in known.items() if url not in urls]
        self._backends = {url: known.get(url) or Backend(url, self._connect(url)) for url in urls}

    def _log_mismatched_models(self) -> None:
        healthy = self.healthy
        mismatched = {backend for backend in self._backends.values() if backend.served_model and backend not in healthy}
        for backend in mismatched - self._mismatched:
            models = {"model": backend.model, "expected": healthy[0].model}
            logger.error("engine not used: it serves another model", extra={"engine": backend.address, **models})
        self._mismatched = mismatched
