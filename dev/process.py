"""One process of the stack: it logs to its own file, is ready when a real request succeeds, and can be killed, paused
and restarted."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dev.loopback import REQUEST_ERRORS

_POLL_SECONDS = 0.05
_LAST_LINES = 12
# Where the init process of a container does not reap orphans, zombies stay in their group for ever.
_GROUP_EXIT_SECONDS = 3


class StartFailed(Exception):
    """The process exited, or did not become ready in time; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a process is started. `ready` returns False or raises one of REQUEST_ERRORS until it is ready."""

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
        self._reaped: subprocess.Popen[bytes] | None = None
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
        """None while it runs; the negative signal number if a signal killed it."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        self._kill_group()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic()
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                # If this program is killed, the kernel still terminates its children.
                ["setpriv", "--pdeathsig", "TERM", "--", *self.command.arguments],
                env={**_inherited(), **self.command.environment},
                cwd=self._working_directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own process group: Ctrl-C reaches only this program, and a kill reaches the workers too.
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        """Raises StartFailed."""
        for _ in as_ready([self]):
            pass

    def check_ready(self) -> bool:
        """Raises StartFailed if it has exited or takes too long."""
        if not self.running:
            raise StartFailed(f"{self.name} exited while starting.\n{self.last_lines()}")
        if time.monotonic() - self._started > self.command.ready_within_seconds:
            raise StartFailed(
                f"{self.name} was not ready within {self.command.ready_within_seconds:.0f} s.\n{self.last_lines()}"
            )
        try:
            return self.command.ready()
        except REQUEST_ERRORS:
            return False  # not listening yet

    def kill(self) -> None:
        """SIGKILL, workers included."""
        self._kill_group()

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def stop(self, within_seconds: float = 15) -> None:
        stop_all([self], within_seconds)

    def request_stop(self) -> None:
        """Resumes a paused process, which could not handle the signal otherwise."""
        if self.running:
            os.kill(self.pid, self.command.stop_signal)
            self.signal(signal.SIGCONT)

    def wait_or_kill(self, within_seconds: float) -> None:
        """After request_stop."""
        if self._child is not None:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(within_seconds)
        self._kill_group()

    def restart(self) -> None:
        self.stop()
        self.start()
        self.wait_ready()

    def signal(self, number: signal.Signals) -> None:
        """To the whole process group; a group that no longer exists is not an error."""
        if self._child is self._reaped:
            return  # the number may have been reused
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])

    def _kill_group(self) -> None:
        """Also when its leader is dead: nginx's workers outlive it and hold the port."""
        if self._child is None or self._child is self._reaped:
            return
        self.signal(signal.SIGKILL)
        self._child.wait()
        deadline = time.monotonic() + _GROUP_EXIT_SECONDS
        while _group_exists(self._child.pid) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        self._reaped = self._child


def stop_all(processes: Iterable[Process], within_seconds: float = 15) -> None:
    """Signals all of them before it waits for any; kills those that are still running when the time is up."""
    stopping = list(processes)
    for process in stopping:
        process.request_stop()
    deadline = time.monotonic() + within_seconds
    for process in stopping:
        process.wait_or_kill(max(0, deadline - time.monotonic()))


def as_ready(processes: Iterable[Process]) -> Iterator[Process]:
    """Yields each process as it becomes ready. Raises StartFailed as soon as one fails."""
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
    """Without the services' settings: they come from the stack alone, not from the shell."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "AUTH_"))}
