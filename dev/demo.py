"""`make demo`: the whole stack, a ready account, and a note that says how to use it."""

import json
import os
import secrets
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from dev.ports import is_free
from dev.process import StartFailed
from dev.stack import ROOT, Plan, Stack

DIRECTORY = ROOT / ".run"
NOTE = DIRECTORY / "demo.json"

# The account of the page that Parley grew from. Nothing but this machine can reach the demo.
ORIGIN_USER, ORIGIN_SECRET = "12345", "x" * 26

_RESTART_SECONDS = 1.0
_RESTARTS_AT_MOST = 5


class DemoFailed(Exception):
    """One sentence for the user."""


@dataclass(frozen=True, slots=True)
class Account:
    user: str
    password: str
    api_key: str


def main() -> None:
    try:
        stack = Stack(_plan())
        # SIGINT too: a shell that starts us in the background has it ignored.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        print(f"  starting {', '.join(stack.processes)}", flush=True)
        started = time.monotonic()
        try:
            stack.start(lambda text: print(f"  {time.monotonic() - started:4.0f} s  {text}", flush=True))
            _run(stack)
        finally:
            stack.stop()
            NOTE.unlink(missing_ok=True)
    except KeyboardInterrupt:
        print("\n  stopped; nothing is left running", flush=True)
    except (DemoFailed, StartFailed) as exc:
        sys.exit(f"parley: {exc}")


def _run(stack: Stack) -> None:
    account = _account(stack)
    _write_note(stack, account)
    print(_GREETING.format(url=stack.url, user=account.user, password=account.password, note=NOTE.relative_to(ROOT)))
    sys.stdout.flush()
    _watch(stack, account)


_GREETING = """
  Parley runs at   {url}
  log in with      {user} / {password}
  for programs     {note} has an API key, every process's pid and log

  Ctrl-C stops everything. Conversations are kept for the next time.
"""


def _plan() -> Plan:
    port = _number("PORT", "7777")
    gateways = _number("GATEWAYS", "2")
    engine = os.environ.get("ENGINE") or "vllm"
    if engine not in ("vllm", "scripted") and not engine.startswith(("http://", "https://")):
        raise DemoFailed(f"ENGINE={engine!r}: expected vllm, scripted, or a base URL such as http://localhost:9000/v1")
    if not 1 <= gateways <= 16:
        raise DemoFailed(f"GATEWAYS={gateways}: expected 1 to 16")
    if not is_free(port):
        raise DemoFailed(f"port {port} is taken; choose another: make demo PORT={port + 1}")
    return Plan(DIRECTORY, engine=engine, gateways=gateways, port=port)


def _number(variable: str, default: str) -> int:
    text = os.environ.get(variable) or default
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise DemoFailed(f"{variable}={text!r}: expected a number from 1 to 65535")
    return int(text)


def _account(stack: Stack) -> Account:
    """Made at the first start, with a password of its own, and kept."""
    stack.add_user(ORIGIN_USER, ORIGIN_SECRET)
    kept = DIRECTORY / "account.json"
    if kept.exists():
        return Account(**json.loads(kept.read_text()))
    password = secrets.token_urlsafe(9)
    stack.add_user("demo", password, admin=True)
    account = Account("demo", password, stack.add_key("demo"))
    _write_private(kept, {"user": account.user, "password": account.password, "api_key": account.api_key})
    return account


def _write_note(stack: Stack, account: Account) -> None:
    processes = [
        {"name": one.name, "pid": one.pid, "port": one.command.port, "log": str(one.log)}
        for one in stack.processes.values()
    ]
    note = {"url": stack.url, "user": account.user, "password": account.password, "api_key": account.api_key}
    _write_private(NOTE, {**note, "processes": processes})


def _write_private(file: Path, content: dict[str, object]) -> None:
    new = file.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.replace(file)


def _watch(stack: Stack, account: Account) -> None:
    """As a container engine does: what dies is started again."""
    restarts = 0
    while True:
        time.sleep(_RESTART_SECONDS)
        for process in stack.processes.values():
            if process.running:
                continue
            restarts += 1
            if restarts > _RESTARTS_AT_MOST:
                raise DemoFailed(f"{process.name} keeps ending; its log is {process.log}\n{process.last_lines()}")
            print(f"  {process.name} has ended; starting it again", flush=True)
            process.restart()
            _write_note(stack, account)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
