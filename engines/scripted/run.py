"""One request in the engine: generates its tokens when they are due and triggers its faults."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from engines.scripted.generation import Generation
from engines.scripted.script import Cut, Failure, Stall

# Keeps an unpaced answer from starving the others.
_MAX_BURST: Final = 64


class State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CUT = "cut"
    ABANDONED = "abandoned"

    @property
    def is_final(self) -> bool:
        return self not in (State.WAITING, State.RUNNING)


class Output(Protocol):
    """Receives a run's tokens. Ranges are of the generation's tokens; nothing is sent before `flush`."""

    @property
    def is_congested(self) -> bool:
        """Whether the reader is too slow for more events."""

    def write(self, start: int, stop: int) -> None: ...

    def flush(self) -> None: ...

    def finish(self, start: int) -> None: ...

    def fail(self) -> None: ...

    def cut(self, start: int, cut: Cut) -> None: ...


@dataclass(frozen=True, slots=True)
class Timing:
    first_seconds: float
    pace_seconds: float
    # Tokens per event; the first and the last token are always sent at once.
    interval: int


class Run:
    def __init__(
        self, generation: Generation, timing: Timing, faults: Iterable[Stall | Cut | Failure], output: Output
    ) -> None:
        self.generation = generation
        self.state = State.WAITING
        self.due = math.inf
        self.token_count = 0
        self._sent = 0
        self._total = len(generation.ids)
        self._timing = timing
        self._output = output
        self._faults = sorted(faults, key=lambda fault: fault.after, reverse=True)
        self._next_fault_at = self._fault_position()

    def start(self, now: float) -> None:
        self.state = State.RUNNING
        self.due = now + self._timing.first_seconds

    def step(self, now: float) -> None:
        """Generates the tokens that are due and advances `due`; after the last token the state is final."""
        budget = _MAX_BURST
        while self.due <= now and budget:
            if self.token_count >= self._next_fault_at:
                if self._apply_fault():
                    return
                continue
            self.token_count += 1
            if self.token_count == self._total:
                self.state = State.FINISHED
                self._output.finish(self._sent)
                return
            self._write()
            self.due += self._timing.pace_seconds
            budget -= 1
        self._output.flush()

    def _write(self) -> None:
        # A slow reader receives several tokens in its next event, as from vLLM.
        if (self._sent and self.token_count - self._sent < self._timing.interval) or self._output.is_congested:
            return
        self._output.write(self._sent, self.token_count)
        self._sent = self.token_count

    def _apply_fault(self) -> bool:
        """Triggers the next fault; true if it ends the run."""
        fault = self._faults.pop()
        self._next_fault_at = self._fault_position()
        if isinstance(fault, Stall):
            self.due += fault.seconds
            return False
        self._output.flush()
        if isinstance(fault, Cut):
            self.state = State.CUT
            self._output.cut(self._sent, fault)
        else:
            self.state = State.FAILED
            self._output.fail()
        return True

    def _fault_position(self) -> float:
        return self._faults[-1].after if self._faults else math.inf
