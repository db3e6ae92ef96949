"""`make demo`: the whole stack, a ready account, and a note that says how to use it."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from dev import engine_commands
from dev.account import Account, AccountLost, ready_account
from dev.folder import NOTE, AlreadyRuns, alone, write_private
from dev.ports import advice, refusal
from dev.process import Process, StartFailed
from dev.restarts import Restarts
from dev.stack import Plan, Stack

_WATCH_SECONDS = 1.0

_GREETING = """
  Parley runs at   {url}
  log in with      {user} / {password}
  for programs     {note} has an API key, every process's pid and log

  Ctrl-C stops everything. Conversations are kept for the next time.
"""


class DemoFailed(Exception):
    """One sentence for the user."""


def main(directory: Path) -> None:
    """Runs until it is interrupted; what it keeps is in `directory`."""
    try:
        _be_interruptible()
        with alone(directory):
            Demo(directory, Stack(plan(directory, os.environ))).run()
    except KeyboardInterrupt:
        print("\n  stopped; nothing is left running", flush=True)
    except (DemoFailed, AlreadyRuns, AccountLost, StartFailed) as exc:
        sys.exit(f"parley: {exc}")


def plan(directory: Path, variables: Mapping[str, str]) -> Plan:
    """Raises DemoFailed for what can not be used."""
    port = _number(variables, "PORT", 7777, 65535)
    gateways = _number(variables, "GATEWAYS", 2, 16)
    engine = variables.get("ENGINE") or "vllm"
    if engine.startswith(("http://", "https://")):
        if not engine_commands.is_there(engine):
            raise DemoFailed(f"no model server answers at {engine}; start it first, or leave ENGINE out")
    elif engine not in ("vllm", "scripted"):
        raise DemoFailed(f"ENGINE={engine!r}: expected vllm, scripted, or a base URL such as http://localhost:9000/v1")
    if refused := refusal(port):
        raise DemoFailed(advice(port, refused))
    return Plan(directory, engine=engine, gateways=gateways, port=port)


class Demo:
    def __init__(self, directory: Path, stack: Stack) -> None:
        self._directory = directory
        self._stack = stack
        self._note = directory / NOTE

    def run(self) -> None:
        print(f"  starting {', '.join(self._stack.processes)}", flush=True)
        started = time.monotonic()
        try:
            self._stack.start(lambda text: print(f"  {time.monotonic() - started:4.0f} s  {text}", flush=True))
            account = ready_account(self._stack, self._directory)
            self._write_note(account)
            print(_GREETING.format(url=self._stack.url, note=self._note, **asdict(account)), flush=True)
            self._watch(account)
        finally:
            for number in _INTERRUPTIONS:  # a second Ctrl-C must not leave half of it running
                signal.signal(number, signal.SIG_IGN)
            self._stack.stop()
            self._note.unlink(missing_ok=True)

    def _write_note(self, account: Account) -> None:
        """Names what runs, and nothing that has ended."""
        processes = [
            {"name": one.name, "pid": one.pid, "port": one.command.port, "log": str(one.log)}
            for one in self._stack.processes.values()
            if one.running
        ]
        write_private(self._note, {"url": self._stack.url, **asdict(account), "processes": processes})

    def _watch(self, account: Account) -> None:
        """As a container engine does: what dies is started again."""
        restarts = Restarts()
        while True:
            time.sleep(_WATCH_SECONDS)
            for process in self._stack.processes.values():
                if not process.running:
                    self._start_again(process, restarts, account)

    def _start_again(self, process: Process, restarts: Restarts, account: Account) -> None:
        if not restarts.allowed(process.name, time.monotonic()):
            raise DemoFailed(f"{process.name} keeps ending; its log is {process.log}\n{process.last_lines()}")
        print(f"  {process.name} has ended; starting it again", flush=True)
        self._write_note(account)
        process.restart()
        self._write_note(account)
        print(f"  {process.name} runs again", flush=True)


# SIGINT too: a shell that starts us in the background has it ignored.
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _be_interruptible() -> None:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in _INTERRUPTIONS:
        signal.signal(number, interrupt)


def _number(variables: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise DemoFailed(f"{name}={text!r}: expected a number from 1 to {most}")
    return int(text)
