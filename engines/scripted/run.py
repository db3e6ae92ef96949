"""One request in the engine: makes its tokens when they are due and plays its faults."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from engines.scripted.generation import Generation
from engines.scripted.script import Cut, Failure, Stall

# So that an unpaced answer does not keep the others waiting.
_BURST: Final = 64


class State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    CUT = "cut"
    ABANDONED = "abandoned"

    @property
    def over(self) -> bool:
        return self not in (State.WAITING, State.RUNNING)


class Output(Protocol):
    """Where a run's tokens go. Ranges are of the generation's tokens; nothing leaves before `flush`."""

    @property
    def behind(self) -> bool:
        """Whether the reader is too slow to be sent more."""

    def write(self, start: int, stop: int) -> None: ...

    def flush(self) -> None: ...

    def finish(self, start: int) -> None: ...

    def fail(self) -> None: ...

    def cut(self, start: int, cut: Cut) -> None: ...


@dataclass(frozen=True, slots=True)
class Tempo:
    first_seconds: float
    pace_seconds: float
    # Tokens per event; the first and the last token are always sent at once.
    interval: int


class Run:
    def __init__(
        self, generation: Generation, tempo: Tempo, faults: Iterable[Stall | Cut | Failure], output: Output
    ) -> None:
        self.generation = generation
        self.state = State.WAITING
        self.due = math.inf
        self.made = 0
        self._sent = 0
        self._total = len(generation.ids)
        self._tempo = tempo
        self._output = output
        self._faults = sorted(faults, key=lambda fault: fault.after, reverse=True)
        self._strike = self._next_strike()

    def begin(self, now: float) -> None:
        self.state = State.RUNNING
        self.due = now + self._tempo.first_seconds

    def step(self, now: float) -> None:
        """Makes what is due, and moves `due` on; after the last token the state is over."""
        budget = _BURST
        while self.due <= now and budget:
            if self.made >= self._strike:
                if self._play():
                    return
                continue
            self.made += 1
            if self.made == self._total:
                self.state = State.FINISHED
                self._output.finish(self._sent)
                return
            self._write()
            self.due += self._tempo.pace_seconds
            budget -= 1
        self._output.flush()

    def _write(self) -> None:
        # A slow reader finds several tokens in its next event, as in vLLM.
        if (self._sent and self.made - self._sent < self._tempo.interval) or self._output.behind:
            return
        self._output.write(self._sent, self.made)
        self._sent = self.made

    def _play(self) -> bool:
        """Plays the next fault; true if the run is over with it."""
        fault = self._faults.pop()
        self._strike = self._next_strike()
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

    def _next_strike(self) -> float:
        return self._faults[-1].after if self._faults else math.inf
