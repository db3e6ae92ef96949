"""`make demo`: the whole stack, a ready account, and a note that says how to use it."""

import fcntl
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType

from dev import engines
from dev.ports import is_free
from dev.process import StartFailed
from dev.stack import Plan, Stack

# The account of the page that Parley grew from. Nothing but this machine can reach the demo.
ORIGIN_USER, ORIGIN_SECRET = "12345", "x" * 26

_WATCH_SECONDS = 1.0
_RESTARTS_AT_MOST = 5

_GREETING = """
  Parley runs at   {url}
  log in with      {user} / {password}
  for programs     {note} has an API key, every process's pid and log

  Ctrl-C stops everything. Conversations are kept for the next time.
"""


class DemoFailed(Exception):
    """One sentence for the user."""


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str
    api_key: str


def main(directory: Path) -> None:
    """Runs until it is interrupted; what it keeps is in `directory`."""
    try:
        with _interruptible(), _alone(directory):
            Demo(directory, Stack(plan(directory, os.environ))).run()
    except KeyboardInterrupt:
        print("\n  stopped; nothing is left running", flush=True)
    except (DemoFailed, StartFailed) as exc:
        sys.exit(f"parley: {exc}")


def plan(directory: Path, variables: Mapping[str, str]) -> Plan:
    """Raises DemoFailed for what can not be used."""
    port = _number(variables, "PORT", 7777, 65535)
    gateways = _number(variables, "GATEWAYS", 2, 16)
    engine = variables.get("ENGINE") or "vllm"
    if engine.startswith(("http://", "https://")):
        if not engines.is_there(engine):
            raise DemoFailed(f"no model server answers at {engine}; start it first, or leave ENGINE out")
    elif engine not in ("vllm", "scripted"):
        raise DemoFailed(f"ENGINE={engine!r}: expected vllm, scripted, or a base URL such as http://localhost:9000/v1")
    if not is_free(port):
        raise DemoFailed(f"port {port} is taken; choose another: make demo PORT={port + 1}")
    return Plan(directory, engine=engine, gateways=gateways, port=port)


class Demo:
    def __init__(self, directory: Path, stack: Stack) -> None:
        self._directory = directory
        self._stack = stack
        self._note = directory / "demo.json"

    def run(self) -> None:
        print(f"  starting {', '.join(self._stack.processes)}", flush=True)
        started = time.monotonic()
        try:
            self._stack.start(lambda text: print(f"  {time.monotonic() - started:4.0f} s  {text}", flush=True))
            account = self._account()
            self._write_note(account)
            print(_GREETING.format(url=self._stack.url, note=self._note, **asdict(account)), flush=True)
            self._watch(account)
        finally:
            for number in _INTERRUPTIONS:  # a second Ctrl-C must not leave half of it running
                signal.signal(number, signal.SIG_IGN)
            self._stack.stop()
            self._note.unlink(missing_ok=True)

    def _account(self) -> Account:
        """Made at the first start, with a password of its own, and kept."""
        there = self._stack.users()
        if ORIGIN_USER not in there:
            self._stack.add_user(ORIGIN_USER, ORIGIN_SECRET)
        kept = self._directory / "account.json"
        if kept.exists() and "demo" in there:
            return Account(**json.loads(kept.read_text()))
        password = secrets.token_urlsafe(9)
        self._stack.add_user("demo", password, admin=True)
        account = Account("demo", password, self._stack.add_key("demo"))
        _write_private(kept, asdict(account))
        return account

    def _write_note(self, account: Account) -> None:
        processes = [
            {"name": one.name, "pid": one.pid, "port": one.command.port, "log": str(one.log)}
            for one in self._stack.processes.values()
        ]
        _write_private(self._note, {"url": self._stack.url, **asdict(account), "processes": processes})

    def _watch(self, account: Account) -> None:
        """As a container engine does: what dies is started again."""
        restarts = 0
        while True:
            time.sleep(_WATCH_SECONDS)
            for process in self._stack.processes.values():
                if process.running:
                    continue
                restarts += 1
                if restarts > _RESTARTS_AT_MOST:
                    raise DemoFailed(f"{process.name} keeps ending; its log is {process.log}\n{process.last_lines()}")
                print(f"  {process.name} has ended; starting it again", flush=True)
                process.restart()
                self._write_note(account)
                print(f"  {process.name} runs again", flush=True)


# SIGINT too: a shell that starts us in the background has it ignored.
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _interruptible() -> Iterator[None]:
    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in _INTERRUPTIONS:
        signal.signal(number, interrupt)
    yield


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Two demos would write the same database, log and note. The kernel gives the lock back whatever happens."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed(f"a demo runs already with {directory}; stop it first") from None
        yield


def _number(variables: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = variables.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise DemoFailed(f"{name}={text!r}: expected a number from 1 to {most}")
    return int(text)


def _write_private(file: Path, content: Mapping[str, object]) -> None:
    """At once or not at all, readable by us alone."""
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.replace(file)
