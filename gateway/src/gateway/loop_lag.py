"""How late the event loop is: everything on it waits as long, and so does the renewal of the lease.

A thread looks at the loop from outside, because a loop that stands cannot see what holds it.
"""

import asyncio
import logging
import sys
import threading
import time
from dataclasses import dataclass
from types import FrameType

logger = logging.getLogger(__name__)

# A sixteenth of the lease.
WARNING_SECONDS = 0.1
_INTERVAL_SECONDS = 0.05
_MAX_NAME_LENGTH = 100


def name_work(name: str) -> None:
    """Names the current task by what it works for: the id that nginx gave a request, or the id of a response."""
    task = asyncio.current_task()
    if task is not None and name:
        task.set_name(name[:_MAX_NAME_LENGTH])


@dataclass(frozen=True, slots=True)
class _Holder:
    """What the loop was doing when it was late. `work` names the task, `place` is in the code."""

    work: str | None
    place: str


class LoopLag:
    """The gauge is `latest_seconds`; a lag of WARNING_SECONDS is logged with what held the loop."""

    def __init__(self) -> None:
        self.latest_seconds = 0.0
        self._due = 0.0
        self._holder: _Holder | None = None

    async def run(self) -> None:
        """Until cancelled."""
        ended = threading.Event()
        watcher = threading.Thread(
            target=self._watch, args=(asyncio.get_running_loop(), threading.get_ident(), ended), daemon=True
        )
        self._due = time.monotonic() + _INTERVAL_SECONDS
        watcher.start()
        try:
            while True:
                cpu_before = time.thread_time()
                await asyncio.sleep(_INTERVAL_SECONDS)
                self._measure(time.thread_time() - cpu_before)
        finally:
            ended.set()

    def _measure(self, cpu_seconds: float) -> None:
        """A low `cpu_seconds` of the loop means that the machine was busy, not the loop."""
        now = time.monotonic()
        self.latest_seconds = max(0.0, now - self._due)
        holder, self._holder, self._due = self._holder, None, now + _INTERVAL_SECONDS
        if self.latest_seconds >= WARNING_SECONDS:
            logger.warning(
                "the event loop was held",
                extra={
                    "seconds": round(self.latest_seconds, 3),
                    "cpu_seconds": round(cpu_seconds, 3),
                    "work": holder and holder.work,
                    "place": holder and holder.place,
                },
            )

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int, ended: threading.Event) -> None:
        while not ended.wait(_INTERVAL_SECONDS):
            if time.monotonic() - self._due >= WARNING_SECONDS and self._holder is None:
                task, frame = asyncio.current_task(loop), sys._current_frames().get(thread_id)  # noqa: SLF001
                self._holder = _Holder(None if task is None else task.get_name(), _place(frame))


def _place(frame: FrameType | None) -> str:
    """The innermost function of the gateway's own, else of any module."""
    own = frame
    while own is not None and not str(own.f_globals.get("__name__")).startswith("gateway."):
        own = own.f_back
    found = own or frame
    return "" if found is None else f"{found.f_globals.get('__name__')}.{found.f_code.co_name}:{found.f_lineno}"
