"""Probes of the engines: periodic ones, and quick ones after a failure."""

import asyncio

from gateway.engine.backend import Backend
from gateway.engine.pool import EnginePool
from gateway.errors import ParleyError

_RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0)


class HealthChecker:
    """`interval_seconds`: the longest time that a silent engine stays unnoticed and a new address unused.

    A deployment's only engine is not probed while it is idle: it may charge for every request.
    """

    def __init__(self, pool: EnginePool, *, interval_seconds: float = 5.0) -> None:
        self._pool = pool
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """Refreshes the pool and probes its backends until cancelled."""
        tasks: dict[Backend, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._pool.refresh()
                backends = self._pool.backends
                for backend in tasks.keys() - set(backends):
                    tasks.pop(backend).cancel()
                for backend in backends:
                    if backend not in tasks:
                        tasks[backend] = group.create_task(self._check(backend))
                await self._pool.close_removed()
                await asyncio.sleep(self._interval_seconds)

    async def _check(self, backend: Backend) -> None:
        failures = 0
        while True:
            if await self._probe(backend):
                failures = 0
                await self._wait_until_due(backend)
            else:
                await asyncio.sleep(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)])
                failures += 1

    async def _wait_until_due(self, backend: Backend) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await backend.probe_requested.wait()
                    await asyncio.sleep(_RETRY_SECONDS[0])
                    return
            except TimeoutError:
                if backend.running or self._pool.may_be_several:
                    return

    async def _probe(self, backend: Backend) -> bool:
        backend.probe_requested.clear()
        try:
            served_model = await backend.client.probe()
        except ParleyError as exc:
            backend.eject(exc)
            backend.abort_waits()
            return False
        self._pool.report_serving(backend, served_model)
        return True
