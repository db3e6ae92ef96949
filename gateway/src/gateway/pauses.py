"""Pauses in long work on the event loop: everything else, and the renewal of the lease, waits for it.

Of all that pauses, one continues in each round of the loop, users in turn. So a hundred long requests hold the loop no
longer than one of them, and the requests of one user delay those of another by one step.
"""

import asyncio
import time
from collections import deque
from contextvars import ContextVar
from weakref import WeakKeyDictionary

STEP_SECONDS = 0.005
# A body or frame below this costs less than a millisecond.
SMALL_BYTES = 16_384

user_at_work: ContextVar[str] = ContextVar("user_at_work", default="")
"""Whose request a task works for, the id; empty for the gateway's own work."""


class Pacer:
    """Paces the work of one request: `pause_if_due` between two short parts of it."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """After the request has waited for something else."""
        self._resumed_at = time.perf_counter()

    async def pause_if_due(self) -> None:
        if time.perf_counter() - self._resumed_at >= STEP_SECONDS:
            await pause()
            self.restart()


async def pause() -> None:
    """Until it is this user's turn."""
    loop = asyncio.get_running_loop()
    queue = _queues.setdefault(loop, _Queue(loop))
    await queue.wait(user_at_work.get())


class _Queue:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._call_soon = loop.call_soon
        self._create_future = loop.create_future
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def wait(self, user_id: str) -> None:
        turn = self._create_future()
        if not self._waiting:
            self._call_soon(self._next)
        self._waiting.setdefault(user_id, deque()).append(turn)
        await turn

    def _next(self) -> None:
        """In each round of the loop, as long as somebody waits."""
        while self._waiting:
            user_id = next(iter(self._waiting))
            turns = self._waiting.pop(user_id)
            turn = turns.popleft()
            if turns:
                self._waiting[user_id] = turns  # behind the other users
            if not turn.done():  # cancelled
                turn.set_result(None)
                break
        if self._waiting:
            self._call_soon(self._next)


# State of a loop, as its queue of callbacks is.
_queues: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()
