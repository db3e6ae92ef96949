"""Steps all runs from one timer: a timer per token would cost more than the token."""

import asyncio
import heapq
import itertools
import math
from collections import deque
from typing import Final

from engines.scripted.metrics import Metrics
from engines.scripted.run import Run, State

# Tokens due within a millisecond share one wake-up of the event loop.
_TICK_SECONDS: Final = 0.001


class Pacer:
    """Starts runs in order of arrival, at most `limit` at a time (vLLM's --max-num-seqs)."""

    def __init__(self, limit: int, metrics: Metrics) -> None:
        self.running: set[Run] = set()
        self.waiting: deque[Run] = deque()
        self._limit = limit
        self._metrics = metrics
        self._due: list[tuple[float, int, Run]] = []
        self._order = itertools.count()
        self._timer: asyncio.Handle | None = None
        self._wakes_at = math.inf

    def submit(self, run: Run) -> None:
        self.waiting.append(run)
        self._admit()
        self._wake()

    def cancel(self, run: Run) -> None:
        """The client disconnected: the run's place is free at once."""
        if run.state is State.WAITING:
            self.waiting.remove(run)
        self.running.discard(run)
        run.state = State.ABANDONED
        self._admit()
        self._wake()

    def _admit(self) -> None:
        now = asyncio.get_running_loop().time()
        while self.waiting and len(self.running) < self._limit:
            run = self.waiting.popleft()
            self.running.add(run)
            run.start(now)
            self._push(run)

    def _push(self, run: Run) -> None:
        heapq.heappush(self._due, (run.due, next(self._order), run))

    def _wake(self) -> None:
        if not self._due:
            return
        loop = asyncio.get_running_loop()
        due, now = self._due[0][0], loop.time()
        when = max(due, now + _TICK_SECONDS) if due > now else now
        if when < self._wakes_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._wakes_at = loop.call_at(when, self._tick), when

    def _tick(self) -> None:
        self._timer, self._wakes_at = None, math.inf
        now = asyncio.get_running_loop().time()
        stepped: list[Run] = []
        while self._due and self._due[0][0] <= now:
            run = heapq.heappop(self._due)[2]
            if run.state is State.RUNNING:
                self._step(run, now)
                stepped.append(run)
        for run in stepped:
            if run.state is State.RUNNING:
                self._push(run)
        self._wake()

    def _step(self, run: Run, now: float) -> None:
        before = run.token_count
        run.step(now)
        self._metrics.generation_tokens += run.token_count - before
        if before == 0 and run.token_count:
            self._metrics.prompt_tokens += len(run.generation.prompt_ids)
        if run.state is not State.RUNNING:
            self.running.discard(run)
            if run.state is State.FINISHED:
                self._metrics.finished[run.generation.finish_reason] += 1
            self._admit()
