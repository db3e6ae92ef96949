"""A compose project for tests: it has its own name, port and image tag, and is removed completely."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = ("compose.yaml",)
CPU = ("compose.yaml", "compose.cpu.yaml")
SCRIPTED = ("compose.yaml", "tests/compose/compose.scripted.yaml")


class CommandFailed(AssertionError):
    pass


def run(*command: str, text: str = "", environment: Mapping[str, str] | None = None) -> str:
    """The standard output; raises CommandFailed with both outputs."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        input=text,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def succeeds(*command: str) -> bool:
    return (
        shutil.which(command[0]) is not None
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )


@dataclass(frozen=True, slots=True)
class Project:
    files: Sequence[str]
    port: int = 7777
    name: str = "parley"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str, text: str = "") -> str:
        files = [part for one in self.files for part in ("--file", one)]
        # A developer's .env must not influence the test.
        command = ("docker", "compose", "--project-name", self.name, "--env-file", os.devnull, *files, *arguments)
        return run(*command, text=text, environment={"PARLEY_PORT": f"127.0.0.1:{self.port}", "PARLEY_VERSION": "test"})

    def configuration(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads(self.compose("config", "--format", "json"))
        return loaded

    def start(self) -> None:
        try:
            self.compose("up", "--detach", "--build", "--wait", "--wait-timeout", "300")
        except CommandFailed as exc:
            raise CommandFailed(f"{exc}\n{self.logs()}") from None

    def remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "15")

    def logs(self, *services: str) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", *services)

    def execute(self, service: str, *command: str, text: str = "", user: str | None = None) -> str:
        return self.compose("exec", "--no-TTY", *(("--user", user) if user else ()), service, *command, text=text)

    def containers(self) -> list[dict[str, Any]]:
        """`docker inspect` of each container; `Config.Labels` names the service."""
        found: list[dict[str, Any]] = json.loads(
            run("docker", "inspect", *self.compose("ps", "--all", "--quiet").split())
        )
        return found

    def containers_of(self, service: str) -> list[dict[str, Any]]:
        return [one for one in self.containers() if one["Config"]["Labels"]["com.docker.compose.service"] == service]
