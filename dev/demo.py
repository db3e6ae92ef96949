"""`make demo`: the whole stack, an account, and a state file that describes both."""

import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from dev import engine_commands
from dev.account import Account, AccountLost, ensure_account
from dev.folder import STATE_FILE, AlreadyRunning, locked, write_private
from dev.ports import bind_error, explain
from dev.process import Process, StartFailed
from dev.restarts import Restarts
from dev.stack import Plan, Stack

_WATCH_SECONDS = 1.0
_PROXY_VARIABLES = ("PARLEY_TRUSTED_PROXIES",)

_GREETING = """
  Parley runs at   {url}
  log in with      {user} / {password}
  for programs     {state_file} has an API key and each process's pid and log

  Ctrl-C stops everything. Conversations are kept for the next start.
"""


class DemoFailed(Exception):
    """One sentence for the user."""


def main(directory: Path) -> None:
    """Runs until it is interrupted; its data is in `directory`."""
    try:
        _handle_stop_signals()
        with locked(directory):
            Demo(directory, Stack(read_plan(directory, os.environ))).run()
    except KeyboardInterrupt:
        print("\n  stopped; nothing is left running", flush=True)
    except (DemoFailed, AlreadyRunning, AccountLost, StartFailed) as exc:
        sys.exit(f"parley: {exc}")


def read_plan(directory: Path, variables: Mapping[str, str]) -> Plan:
    """Raises DemoFailed for an invalid value."""
    port = _number(variables, "PORT", 7777, 65535)
    gateways = _number(variables, "GATEWAYS", 2, 16)
    engine = variables.get("ENGINE") or "vllm"
    if engine.startswith(("http://", "https://")):
        if not engine_commands.is_reachable(engine):
            raise DemoFailed(f"no model server answers at {engine}; start it first, or leave ENGINE out")
    elif engine not in ("vllm", "scripted"):
        raise DemoFailed(f"ENGINE={engine!r}: expected vllm, scripted, or a base URL such as http://localhost:9000/v1")
    if error := bind_error(port):
        raise DemoFailed(explain(port, error))
    proxies = {name: variables[name] for name in _PROXY_VARIABLES if name in variables}
    return Plan(directory, engine=engine, gateways=gateways, port=port, nginx=proxies)


class Demo:
    def __init__(self, directory: Path, stack: Stack) -> None:
        self._directory = directory
        self._stack = stack
        self._state_file = directory / STATE_FILE

    def run(self) -> None:
        print(f"  starting {', '.join(self._stack.processes)}", flush=True)
        started = time.monotonic()
        try:
            self._stack.start(lambda text: print(f"  {time.monotonic() - started:4.0f} s  {text}", flush=True))
            account = ensure_account(self._stack, self._directory)
            self._write_state(account)
            print(_GREETING.format(url=self._stack.url, state_file=self._state_file, **asdict(account)), flush=True)
            self._supervise(account)
        finally:
            for number in _STOP_SIGNALS:  # a second Ctrl-C must not leave half of the processes running
                signal.signal(number, signal.SIG_IGN)
            self._stack.stop()
            self._state_file.unlink(missing_ok=True)

    def _write_state(self, account: Account) -> None:
        """Lists the running processes only."""
        processes = [
            {"name": one.name, "pid": one.pid, "port": one.command.port, "log": str(one.log)}
            for one in self._stack.processes.values()
            if one.running
        ]
        write_private(self._state_file, {"url": self._stack.url, **asdict(account), "processes": processes})

    def _supervise(self, account: Account) -> None:
        """Restarts each process that ends, as a container engine does."""
        restarts = Restarts()
        while True:
            time.sleep(_WATCH_SECONDS)
            for process in self._stack.processes.values():
                if not process.running:
                    self._restart(process, restarts, account)

    def _restart(self, process: Process, restarts: Restarts, account: Account) -> None:
        if not restarts.count_exit(process.name, time.monotonic()):
            raise DemoFailed(f"{process.name} keeps exiting; its log is {process.log}\n{process.last_lines()}")
        print(f"  {process.name} has exited; restarting it", flush=True)
        self._write_state(account)
        process.restart()
        self._write_state(account)
        print(f"  {process.name} runs again", flush=True)


# SIGINT too: a shell ignores it for a program that it starts in the background.
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _handle_stop_signals() -> None:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in _STOP_SIGNALS:
        signal.signal(number, interrupt)


def _number(variables: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= maximum:
        raise DemoFailed(f"{name}={text!r}: expected a number from 1 to {maximum}")
    return int(text)
