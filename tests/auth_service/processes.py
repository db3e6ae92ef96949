"""The auth-service in processes of its own: commands and servers."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from dev.stack import ROOT


@dataclass(frozen=True)
class CompletedCommand:
    status: int
    out: str
    err: str


async def command(environment: Mapping[str, str], *arguments: str, stdin: str | bytes = b"") -> CompletedCommand:
    process = await start(environment, *arguments)
    out, err = await process.communicate(stdin.encode() if isinstance(stdin, str) else stdin)
    assert process.returncode is not None
    return CompletedCommand(process.returncode, out.decode(), err.decode())


@dataclass
class Server:
    process: Process
    lines: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    async def wait_ready(self) -> None:
        while not self.url:
            line = await self._next_line()
            assert line, f"the server ended while it started:\n{self.log}"
            if match := re.search(r"running on (http://[\d.:]+)", line):
                self.url = match[1]

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Returns the exit status after reading the rest of the log."""
        if self.process.returncode is None:
            self.process.send_signal(by)
        while await self._next_line():
            pass
        return await self.process.wait()

    def http(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url)

    async def _next_line(self) -> str:
        assert self.process.stderr is not None
        line = (await self.process.stderr.readline()).decode()
        if line:
            self.lines.append(line.rstrip("\n"))
        return line


@asynccontextmanager
async def serving(environment: Mapping[str, str]) -> AsyncGenerator[Server]:
    async with serving_all(environment) as [server]:
        yield server


@asynccontextmanager
async def serving_all(*environments: Mapping[str, str]) -> AsyncGenerator[list[Server]]:
    """One server for each environment, started concurrently."""
    servers = [Server(await start(environment, "serve")) for environment in environments]
    try:
        await asyncio.gather(*(server.wait_ready() for server in servers))
        yield servers
    finally:
        for server in servers:
            await server.stop()


async def start(environment: Mapping[str, str], *arguments: str, stdin: int = PIPE) -> Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_")}
    # Compiling the dependencies takes a third of a server's start, so processes share their bytecode, also where
    # packages were installed without it.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    inherited.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".pytest_cache" / "bytecode"))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "auth_service",
        *arguments,
        env=inherited | dict(environment),
        stdin=stdin,
        stdout=PIPE,
        stderr=PIPE,
        # Without the terminal of the test run, which getpass would prompt on.
        start_new_session=True,
    )
