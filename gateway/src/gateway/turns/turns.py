"""The turns that run in this process.

Each runs in a task of its own: nobody has to be listening for it to finish, and a closed socket stops nothing.
"""

import asyncio
import logging

import anyio

from gateway.protocol.create import ResponseCreate
from gateway.turn import Begun
from gateway.turn_log.writer import Writer
from gateway.turns.acceptance import Acceptance, Remembered
from gateway.turns.running import Runner, RunningTurn

logger = logging.getLogger(__name__)

# What a stopped turn may take to save its text while the process goes: Docker kills after 15 s in all.
_LAST_WORDS_SECONDS = 4.0
_NOTHING: Remembered = {}


class Turns:
    def __init__(self, acceptance: Acceptance, runner: Runner, writer: Writer) -> None:
        self._acceptance = acceptance
        self._runner = runner
        self._writer = writer
        self._running: dict[str, RunningTurn] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, user_id: str, create: ResponseCreate, remembered: Remembered = _NOTHING) -> RunningTurn:
        """Accepts what is asked and starts the answer. `remembered`: what was said up to responses stored nowhere.

        Raises what Acceptance.accept raises; then nothing was accepted.
        """
        # Whoever hangs up in the middle of this has asked all the same, and finds the answer later.
        with anyio.CancelScope(shield=True):
            accepted = await self._acceptance.accept(user_id, create, remembered)
            running = RunningTurn(accepted, self._writer.open(accepted.turn))
            running.log.append(Begun())
            self._spawn(running)
        return running

    def running(self, user_id: str, response_id: str) -> RunningTurn | None:
        """None for a foreign one as for one that does not run here."""
        running = self._running.get(response_id)
        return running if running is not None and running.request.user_id == user_id else None

    def stop(self, response_id: str) -> None:
        """Without a word where it does not run here, or any more."""
        running = self._running.get(response_id)
        if running is not None:
            running.stop()

    async def drain(self, seconds: float) -> None:
        """Lets the running turns finish; those that do not in time are stopped with their text kept."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for running in self._running.values():
            running.stop()
        if self._tasks:
            _, silent = await asyncio.wait(self._tasks, timeout=_LAST_WORDS_SECONDS)
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)

    def _spawn(self, running: RunningTurn) -> None:
        response_id = running.request.response_id
        self._running[response_id] = running
        task = asyncio.create_task(self._runner.run(running), name=response_id)
        self._tasks.add(task)

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            del self._running[response_id]
            if not done.cancelled() and (exc := done.exception()) is not None:
                logger.error("a turn ended in a bug", exc_info=exc, extra={"response": response_id})

        task.add_done_callback(forget)
