"""How many concurrent engine runs an answer had, according to the scripted engine's request log."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Self

import httpx2

_POLL_SECONDS = 0.4
_ACTIVE = frozenset({"waiting", "running"})


class EngineRuns:
    """Polls while its context is open; an engine that is down is polled again later."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/requests"
        self._maximum: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    def maximum(self, response_id: str) -> int:
        return self._maximum[response_id]

    async def __aenter__(self) -> Self:
        async with httpx2.AsyncClient(timeout=2) as api:
            await api.delete(self._url)
        self._task = asyncio.create_task(self._poll())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _poll(self) -> None:
        async with httpx2.AsyncClient(timeout=1) as api:
            while True:
                with suppress(httpx2.HTTPError, ValueError):
                    requests = (await api.get(self._url)).json()["data"]
                    active = [one["headers"].get("x-request-id", "") for one in requests if one["state"] in _ACTIVE]
                    for response_id, runs in Counter(one.rpartition("-")[0] for one in active).items():
                        self._maximum[response_id] = max(self._maximum[response_id], runs)
                await asyncio.sleep(_POLL_SECONDS)
