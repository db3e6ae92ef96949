"""Tasks that run as long as the process, and the start of its end."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType

logger = logging.getLogger(__name__)


@asynccontextmanager
async def background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """A task that the stack owns. Not in a task group: its failure must not cancel the whole application.

    Without it no turn would continue, so the process shuts down and another one takes its place.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(_shut_down_on_failure)
    try:
        yield
    finally:
        while not task.done():  # on Python 3.11 `wait_for`, which redis-py writes through, may swallow a cancellation
            task.cancel()
            await asyncio.wait([task], timeout=0.2)


def _shut_down_on_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.critical("a required background task ended unexpectedly", exc_info=exc)
        os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def on_sigterm(start_draining: Callable[[], None]) -> Iterator[None]:
    """Besides the web server's own handler, which waits for open streams before it shuts the application down."""
    loop, server_handler = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(start_draining)
        if callable(server_handler):
            server_handler(number, frame)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, server_handler)
