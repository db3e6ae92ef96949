"""How many runs of the engine an answer had at once, as far as the scripted engine's journal shows."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Self

import httpx2

_LOOK_SECONDS = 0.4
_AT_WORK = frozenset({"waiting", "running"})


class EngineRuns:
    """Looks again and again while its context is open; an engine that is away is asked later."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/requests"
        self._most: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    def most(self, response_id: str) -> int:
        return self._most[response_id]

    async def __aenter__(self) -> Self:
        async with httpx2.AsyncClient(timeout=2) as api:
            await api.delete(self._url)
        self._task = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        async with httpx2.AsyncClient(timeout=1) as api:
            while True:
                with suppress(httpx2.HTTPError, ValueError):
                    asked = (await api.get(self._url)).json()["data"]
                    at_work = [one["headers"].get("x-request-id", "") for one in asked if one["state"] in _AT_WORK]
                    for response_id, runs in Counter(one.rpartition("-")[0] for one in at_work).items():
                        self._most[response_id] = max(self._most[response_id], runs)
                await asyncio.sleep(_LOOK_SECONDS)
