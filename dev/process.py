"""One process of the stack: started with a log of its own, ready when a real request succeeds, and killed, paused,
restarted as a test or a user likes."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dev.loopback import NO_ANSWER

_POLL_SECONDS = 0.05
_LAST_LINES = 12
# Where the first process of a container does not collect orphans, the dead stay in their group for ever.
_BURIAL_SECONDS = 3


class StartFailed(Exception):
    """The process ended, or did not answer in time; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a process is started, and the request that shows that it is ready: `ready` returns False or raises one of
    NO_ANSWER until then."""

    name: str
    arguments: Sequence[str]
    ready: Callable[[], bool]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_within_seconds: float = 30
    stop_signal: signal.Signals = signal.SIGTERM


class Process:
    def __init__(self, command: Command, log: Path, working_directory: Path) -> None:
        self.command = command
        self.log = log
        self._working_directory = working_directory
        self._child: subprocess.Popen[bytes] | None = None
        self._ended: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when one ended it."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        self._end_group()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                # Should this program be killed outright, the kernel still tells its children to go.
                ["setpriv", "--pdeathsig", "TERM", "--", *self.command.arguments],
                env={**_inherited(), **self.command.environment},
                cwd=self._working_directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: Ctrl-C reaches only us, and a kill reaches its workers too.
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Raises StartFailed."""
        for _ in all_ready([self]):
            pass

    def check_ready(self) -> bool:
        """Raises StartFailed when it has ended, or takes longer than it may."""
        if not self.running:
            raise StartFailed(f"{self.name} ended while starting.\n{self.last_lines()}")
        if time.monotonic() - self._started > self.command.ready_within_seconds:
            raise StartFailed(
                f"{self.name} did not answer within {self.command.ready_within_seconds:.0f} s.\n{self.last_lines()}"
            )
        try:
            return self.command.ready()
        except NO_ANSWER:
            return False  # not listening yet

    def kill(self) -> None:
        """kill -9, workers included."""
        self._end_group()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self, within_seconds: float = 15) -> None:
        stop_all([self], within_seconds)

    def ask_to_end(self) -> None:
        """A paused process is woken, or it could not hear."""
        if self.running:
            os.kill(self.pid, self.command.stop_signal)
            self.signal(signal.SIGCONT)

    def end(self, within_seconds: float) -> None:
        """Waits for what was asked to end, then insists."""
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(within_seconds)
        self._end_group()

    def restart(self) -> None:
        self.stop()
        self.start()
        self.wait_ready()

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group; one that is gone already is no error."""
        if self._child is self._ended:
            return  # the number may be somebody else's by now
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])

    def _end_group(self) -> None:
        """Also when its leader is dead: nginx's workers outlive it and hold the port."""
        if self._child is None or self._child is self._ended:
            return
        self.signal(signal.SIGKILL)
        self._child.wait()
        deadline = time.monotonic() + _BURIAL_SECONDS
        while _group_exists(self._child.pid) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self._ended = self._child


def stop_all(processes: Iterable[Process], within_seconds: float = 15) -> None:
    """Asks all at once and politely, then insists."""
    asked = list(processes)
    for process in asked:
        process.ask_to_end()
    deadline = time.monotonic() + within_seconds
    for process in asked:
        process.end(max(0, deadline - time.monotonic()))


def all_ready(processes: Iterable[Process]) -> Iterator[Process]:
    """Each as it becomes ready; the first that fails ends the waiting, whichever it is. Raises StartFailed."""
    waiting = list(processes)
    while waiting:
        for process in waiting:
            if process.check_ready():
                waiting.remove(process)
                yield process
                break
        else:
            time.sleep(_POLL_SECONDS)


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _inherited() -> dict[str, str]:
    """Our own settings come from the stack alone, not from whatever the shell had."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "AUTH_"))}
