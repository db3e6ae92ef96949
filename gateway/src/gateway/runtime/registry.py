"""The turns that run in this process.

Each runs in a task of its own: it ends whether or not anybody follows it, and a closed socket stops nothing.
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import ExitStack
from enum import IntEnum, auto
from typing import Any

from gateway.runtime.ports import TurnLogWriter
from gateway.runtime.preparation import PreparedTurn
from gateway.runtime.running import RunningTurn, TurnRunner
from gateway.runtime.turn_list import TurnList
from gateway.turn.state_machine import Created, Ending

logger = logging.getLogger(__name__)

# For stopped turns to store their text while the process ends: Docker kills it after 15 s in all.
SHUTDOWN_GRACE_SECONDS = 4.0


class RegistryState(IntEnum):
    OPEN = auto()
    # Accepts no new turns.
    CLOSED = auto()
    # Releases every turn, also one that is being accepted.
    RELEASING = auto()


class TurnRegistry:
    def __init__(self, runner: TurnRunner, writer: TurnLogWriter, turn_list: TurnList) -> None:
        self._runner = runner
        self._writer = writer
        self._turn_list = turn_list
        self._state = RegistryState.OPEN
        self._running: dict[str, RunningTurn] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_closed(self) -> bool:
        return self._state is not RegistryState.OPEN

    @property
    def stored(self) -> list[RunningTurn]:
        return [running for running in self._running.values() if running.request.stored]

    def find(self, user_id: str, response_id: str) -> RunningTurn | None:
        """None for another user's as for one that does not run here."""
        running = self._running.get(response_id)
        return running if running is not None and running.request.user_id == user_id else None

    def begin(self, prepared: PreparedTurn, held: ExitStack | None = None) -> RunningTurn:
        """Starts an accepted turn; `held` as in RunningTurn."""
        running = RunningTurn(prepared, self._writer.open(prepared.turn), held=held or ExitStack())
        running.log.append(Created())
        self._spawn(running, None)
        if self._state is RegistryState.RELEASING:
            _release_or_stop(running)
        return running

    def adopt(self, running: RunningTurn, ending: Ending | None) -> None:
        """Continues a turn that another gateway has begun. It may run here already, if this gateway was taken for dead
        in between."""
        if (earlier := self._running.get(running.request.response_id)) is not None:
            earlier.log.fence_off()
        self._spawn(running, ending)

    def stop(self, response_id: str, *, requested_ms_ago: int = 0) -> None:
        """A no-op for a turn that does not run here."""
        running = self._running.get(response_id)
        if running is not None:
            running.stop(requested_ms_ago / 1000)

    def close(self) -> None:
        """Accepts no new turns from here on."""
        self._state = max(self._state, RegistryState.CLOSED)

    async def finish(self, seconds: float) -> None:
        """Waits for the running turns to end."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def release(self) -> None:
        """Releases all turns: stored ones continue on another gateway, the others end."""
        self._state = RegistryState.RELEASING
        for running in tuple(self._running.values()):
            _release_or_stop(running)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=SHUTDOWN_GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def run_in_background(self, work: Coroutine[Any, Any, None], *, name: str | None = None) -> None:
        """`finish` and `release` wait for it too."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _spawn(self, running: RunningTurn, ending: Ending | None) -> None:
        response_id = running.request.response_id
        self._running[response_id] = running
        self.run_in_background(self._run(running, ending), name=response_id)

    async def _run(self, running: RunningTurn, ending: Ending | None) -> None:
        request = running.request
        try:
            await self._runner.run(running, ending)
        finally:
            running.held.close()
            is_current = self._running.get(request.response_id) is running
            if is_current:
                del self._running[request.response_id]
        if is_current and request.stored and not running.is_released:
            await self._turn_list.remove(request.user_id, request.response_id)

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.error("a turn ended in a bug", exc_info=exc, extra={"task": task.get_name()})


def _release_or_stop(running: RunningTurn) -> None:
    if running.request.stored:
        running.release()
    else:
        running.stop()
