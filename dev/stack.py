"""All processes of Parley on this machine: nginx, gateways, auth-service, redis and an engine."""

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from dev import engine_commands, nginx, readiness, redis_server
from dev.ports import free_ports
from dev.process import Command, Process, StartFailed, as_ready, stop_all

ROOT = Path(__file__).resolve().parent.parent

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """`engine` is "vllm", "scripted", or the base URL (with /v1) of any OpenAI-compatible server; `port` None chooses a
    free port. `gateway`, `auth` and `nginx` are additional environment variables of the services."""

    directory: Path
    engine: str = "scripted"
    engines: int = 1
    gateways: int = 2
    port: int | None = None
    gateway: Mapping[str, str] = field(default_factory=dict)
    auth: Mapping[str, str] = field(default_factory=dict)
    nginx: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_engine_local(self) -> bool:
        return self.engine in ("vllm", "scripted")


class Stack:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        # One more than needed, because the plan's own port may be among them.
        free = iter([port for port in free_ports(plan.gateways + plan.engines + 4) if port != plan.port])
        self.port = plan.port or next(free)
        self._redis_port, self._auth_port = next(free), next(free)
        self._gateway_ports = [next(free) for _ in range(plan.gateways)]
        self._engine_ports = [next(free) for _ in range(plan.engines)]
        self.url = f"http://localhost:{self.port}"
        self._secrets = _Secrets(plan.directory / "secrets")
        self.processes = {command.name: self._process(command) for command in self._commands()}

    def start(self, progress: Progress = lambda _: None) -> None:
        """All at once, because the engine takes longest. Raises StartFailed and leaves nothing running."""
        try:
            for process in self.processes.values():
                process.start()
            for process in as_ready(self.processes.values()):
                progress(f"{process.name} is ready")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """From the edge inwards, so that the gateways can still store their running answers; and vLLM does not exit
        while a gateway holds a stream. All gateways at once: each may take its whole grace period."""
        for tier in self._tiers():
            stop_all(tier)

    def _tiers(self) -> list[list[Process]]:
        """In the order in which they stop."""
        inwards = reversed(self.processes.values())
        return [list(tier) for _, tier in groupby(inwards, lambda one: one.name.rstrip("-0123456789"))]

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def gateway(self, number: int) -> Process:
        return self.processes[f"gateway-{number}"]

    def engine(self, number: int = 1) -> Process:
        """A local engine."""
        return next(one for one in self.processes.values() if one.command.port == self._engine_ports[number - 1])

    @property
    def engine_url(self) -> str:
        """Of the first engine, with /v1."""
        return self.engine_urls[0]

    @property
    def engine_urls(self) -> list[str]:
        if not self.plan.is_engine_local:
            return [self.plan.engine]
        return [f"http://127.0.0.1:{port}/v1" for port in self._engine_ports]

    @property
    def redis_url(self) -> str:
        """Without credentials, for the services: users and passwords are settings of their own."""
        return f"redis://127.0.0.1:{self._redis_port}"

    @property
    def redis_admin_url(self) -> str:
        """With the credentials of a user who may run every command."""
        password = self._secrets["redis_admin_password"]
        return f"redis://{redis_server.ADMIN_USER}:{password}@127.0.0.1:{self._redis_port}"

    def users(self) -> list[str]:
        """Their names."""
        return [line.split("\t")[0] for line in self._auth_command("user", "list").splitlines()]

    def add_user(self, name: str, password: str, *, admin: bool = False) -> None:
        options = ["--admin"] if admin else []
        self._auth_command("user", "add", name, "--password-stdin", *options, stdin=f"{password}\n")

    def add_key(self, name: str) -> str:
        return self._auth_command("key", "add", name).strip()

    def _auth_command(self, *arguments: str, stdin: str = "") -> str:
        """The output of the auth-service's command line. Raises StartFailed with its error message."""
        command = self.processes["auth-service"].command
        done = subprocess.run(
            [command.arguments[0], *arguments],
            env=dict(command.environment),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise StartFailed(done.stderr.strip())
        return done.stdout

    def _process(self, command: Command) -> Process:
        return Process(command, self.plan.directory / "log" / f"{command.name}.log", ROOT)

    def _commands(self) -> list[Command]:
        """In the order in which the processes become ready."""
        makers: dict[str, Callable[[int], Command]] = {
            "vllm": partial(engine_commands.vllm, ROOT),
            "scripted": engine_commands.scripted,
        }
        make = makers.get(self.plan.engine)
        local_engines = [make(port) for port in self._engine_ports] if make else []
        if len(local_engines) > 1:
            local_engines = [replace(one, name=f"{one.name}-{n}") for n, one in enumerate(local_engines, 1)]
        gateways = [self._gateway(number, port) for number, port in enumerate(self._gateway_ports, 1)]
        return [self._redis(), self._auth(), *local_engines, *gateways, self._nginx()]

    def _redis(self) -> Command:
        port, data, acl_file = self._redis_port, self.plan.directory / "redis", self.plan.directory / "users.acl"
        data.mkdir(parents=True, exist_ok=True)
        users = redis_server.users_acl(
            gateway_password=self._secrets["gateway_redis_password"],
            auth_service_password=self._secrets["auth_service_redis_password"],
            guard_password=self._secrets["guard_redis_password"],
            admin_password=self._secrets["redis_admin_password"],
        )
        acl_file.touch(mode=0o600)
        acl_file.write_text(users)
        return Command(
            name="redis",
            arguments=redis_server.guarded_arguments(
                port=port, folder=data, acl_file=acl_file, password_file=self._secrets.file("guard_redis_password")
            ),
            # The folders of tests are kept for a while, and there are many.
            environment={"STORAGE_BALLAST_PIECES": "0"},
            port=port,
            ready=lambda: readiness.redis(port),
        )

    def _auth(self) -> Command:
        return Command(
            name="auth-service",
            arguments=[_script("auth-service"), "serve"],
            environment={
                "PATH": "/usr/bin:/bin",
                "AUTH_PORT": str(self._auth_port),
                "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{self.plan.directory}/auth.db",
                "AUTH_INTROSPECTION_CREDENTIAL": self._secrets["introspection_credential"],
                "AUTH_COOKIE_SECURE": "false",
                "AUTH_REDIS_URL": self.redis_url,
                "AUTH_REDIS_USER": "auth-service",
                "AUTH_REDIS_PASSWORD": self._secrets["auth_service_redis_password"],
                **self.plan.auth,
            },
            port=self._auth_port,
            ready=lambda: readiness.service(self._auth_port),
        )

    def _gateway(self, number: int, port: int) -> Command:
        is_vllm = self.plan.is_engine_local or engine_commands.is_vllm(self.engine_url)
        return Command(
            name=f"gateway-{number}",
            arguments=[_script("gateway")],
            environment={
                "GATEWAY_PORT": str(port),
                "GATEWAY_REDIS_URL": self.redis_url,
                "GATEWAY_REDIS_USER": "gateway",
                "GATEWAY_REDIS_PASSWORD": self._secrets["gateway_redis_password"],
                "GATEWAY_AUTH_URL": f"http://127.0.0.1:{self._auth_port}",
                "GATEWAY_INTROSPECTION_CREDENTIAL": self._secrets["introspection_credential"],
                "GATEWAY_SERVER_KEY": self._secrets["server_key"],
                "GATEWAY_ENGINE_URL": ",".join(self.engine_urls),
                "GATEWAY_ENGINE_API_KEY": os.environ.get("ENGINE_API_KEY") or "EMPTY",
                "GATEWAY_ENGINE_DIALECT": "vllm" if is_vllm else "openai",
                "GATEWAY_ANNOUNCE_LEAVERS": "true",
                **self.plan.gateway,
            },
            port=port,
            ready=lambda: readiness.service(port),
        )

    def _nginx(self) -> Command:
        prefix = self.plan.directory / "nginx"
        prefix.mkdir(parents=True, exist_ok=True)
        text = nginx.configuration(
            ROOT,
            prefix,
            port=self.port,
            gateway_ports=self._gateway_ports,
            auth_port=self._auth_port,
            environment=self.plan.nginx,
        )
        (prefix / "nginx.conf").write_text(text)
        return Command("nginx", nginx.arguments(prefix), partial(readiness.edge, self.port), self.port)


class _Secrets:
    """Created once in a folder that only its owner can read, so that sessions survive a restart of the stack."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def file(self, name: str) -> Path:
        return self._directory / name

    def __getitem__(self, name: str) -> str:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.file(name)
        with suppress(FileNotFoundError):
            return file.read_text()
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32))
        return file.read_text()


def _script(name: str) -> str:
    return shutil.which(name, path=str(Path(sys.executable).parent)) or name
