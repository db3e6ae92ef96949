"""`make demo` as a user runs it, with the scripted engine."""

import ast
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from dev import engine_commands, setup
from dev.account import ORIGIN_USER, AccountLost, ensure_account
from dev.demo import read_plan
from dev.folder import AlreadyRunning, locked
from dev.installation import is_new_enough, prepare
from dev.ports import free_port
from dev.restarts import Restarts
from dev.stack import ROOT


@contextmanager
def demo(folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "ENGINE": "scripted", "PORT": str(free_port()), **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "dev", str(folder)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"it exited without printing {text!r}:\n{seen}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_trusted_proxies_are_passed_to_nginx(tmp_path: Path) -> None:
    variables = {"ENGINE": "scripted", "PORT": str(free_port()), "PARLEY_TRUSTED_PROXIES": "127.0.0.9"}
    assert read_plan(tmp_path, variables).nginx == {"PARLEY_TRUSTED_PROXIES": "127.0.0.9"}


def test_it_prints_an_address_and_a_working_account_and_a_second_start_keeps_them(tmp_path: Path) -> None:
    states = []
    for _ in range(2):
        with demo(tmp_path) as process:
            seen = read_until(process, "Ctrl-C stops everything")
            state = json.loads((tmp_path / "demo.json").read_text())
            states.append(state)
            assert state["url"] in seen
            assert state["password"] in seen
            credentials = {"username": state["user"], "password": state["password"]}
            assert httpx2.post(f"{state['url']}/auth/login", json=credentials).status_code == 200
            with_key = {"Authorization": f"Bearer {state['api_key']}"}
            assert httpx2.get(f"{state['url']}/v1/conversations", headers=with_key).status_code == 200
            pids = [one["pid"] for one in state["processes"]]
            assert all(is_alive(pid) for pid in pids)
            assert all(Path(one["log"]).exists() and one["port"] for one in state["processes"])
        assert not any(is_alive(pid) for pid in pids)
        assert not (tmp_path / "demo.json").exists()
    assert states[0]["api_key"] == states[1]["api_key"]
    names = [one["name"] for one in states[0]["processes"]]
    assert names == ["redis", "auth-service", "scripted-engine", "gateway-1", "gateway-2", "nginx"]


def test_a_process_that_dies_is_restarted_and_the_state_file_is_updated(tmp_path: Path) -> None:
    with demo(tmp_path, GATEWAYS="1") as process:
        read_until(process, "Ctrl-C stops everything")
        first = {one["name"]: one["pid"] for one in json.loads((tmp_path / "demo.json").read_text())["processes"]}
        os.kill(first["gateway-1"], signal.SIGKILL)
        read_until(process, "gateway-1 runs again")
        state = json.loads((tmp_path / "demo.json").read_text())
        second = {one["name"]: one["pid"] for one in state["processes"]}
        assert second["gateway-1"] != first["gateway-1"]
        headers = {"Authorization": f"Bearer {state['api_key']}"}
        assert httpx2.get(f"{state['url']}/v1/conversations", headers=headers).status_code == 200


def test_killing_it_leaves_no_process_running(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "Ctrl-C stops everything")
        pids = [one["pid"] for one in json.loads((tmp_path / "demo.json").read_text())["processes"]]
        process.kill()
        process.wait()
        while any(is_alive(pid) for pid in pids):  # bounded by the test's timeout
            time.sleep(0.05)
    assert (tmp_path / "demo.json").exists()
    with locked(tmp_path):
        assert not (tmp_path / "demo.json").exists()


def test_it_runs_in_a_folder_with_a_space_in_its_name_and_ignores_the_shells_proxy(tmp_path: Path) -> None:
    closed = "http://127.0.0.1:9"
    with demo(tmp_path / "with a space", GATEWAYS="1", http_proxy=closed, HTTP_PROXY=closed) as process:
        read_until(process, "Ctrl-C stops everything")


def test_a_second_demo_in_the_same_folder_is_refused_and_the_first_keeps_running(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "Ctrl-C stops everything")
        with demo(tmp_path) as second:
            assert "already" in read_until(second, "parley:")
            assert second.wait() == 1
        state = json.loads((tmp_path / "demo.json").read_text())
        assert httpx2.get(state["url"]).status_code == 200


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PORT": "abc"}, "PORT='abc': expected a number from 1 to 65535"),
        ({"GATEWAYS": "0"}, "GATEWAYS='0': expected a number from 1 to 16"),
        ({"ENGINE": "gpt"}, "ENGINE='gpt': expected vllm, scripted, or a base URL"),
        ({"ENGINE": "http://127.0.0.1:9/v1"}, "no model server answers at http://127.0.0.1:9/v1"),
        ({"ENGINE": "http://127.0.0.1:abc/v1"}, "no model server answers at http://127.0.0.1:abc/v1"),
        ({"ENGINE": "http://a b/v1"}, "no model server answers at http://a b/v1"),
    ],
)
def test_an_invalid_variable_is_reported_in_one_sentence(
    tmp_path: Path, variables: dict[str, str], message: str
) -> None:
    with demo(tmp_path, **variables) as process:
        printed = read_until(process, "parley:")
        assert message in printed
        assert "Traceback" not in printed
        assert process.wait() == 1
    assert not (tmp_path / "demo.json").exists()


def test_a_taken_port_is_reported_before_anything_starts(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        with demo(tmp_path, PORT=port) as process:
            assert f"port {port} is taken" in read_until(process, "parley:")
    assert not (tmp_path / "log").exists()


def test_nothing_is_installed_while_a_demo_runs(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(AlreadyRunning, match=f"a demo is already running in {tmp_path}"):
        prepare("demo", tmp_path)


def test_a_server_that_does_not_speak_http_is_not_an_engine() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        threading.Thread(target=greet_two, args=(server,), daemon=True).start()
        assert not engine_commands.is_reachable(url)
        assert not engine_commands.is_vllm(url)
    assert not engine_commands.is_vllm(url)


def greet_two(server: socket.socket) -> None:
    for _ in range(2):
        with server.accept()[0] as visitor:
            visitor.recv(1000)
            visitor.sendall(b"220 mail.example ready\r\n")


class FakeAccounts:
    """Raises KeyboardInterrupt at call number `interrupted_at`. The first account is an administrator, as in the
    auth-service."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.administrators: set[str] = set()
        self.keys: list[str] = []
        self.interrupted_at = 0

    def users(self) -> list[str]:
        return list(self.passwords)

    def add_user(self, name: str, password: str, *, admin: bool = False) -> None:
        self._call()
        assert name not in self.passwords
        if admin or not self.passwords:
            self.administrators.add(name)
        self.passwords[name] = password

    def add_key(self, name: str) -> str:
        self._call()
        self.keys.append(f"pk_{name}_{len(self.keys)}")
        return self.keys[-1]

    def _call(self) -> None:
        self.interrupted_at -= 1
        if self.interrupted_at == 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("interrupted_at", [1, 2, 3])
def test_a_second_start_completes_an_interrupted_first_one(tmp_path: Path, interrupted_at: int) -> None:
    accounts = FakeAccounts()
    accounts.interrupted_at = interrupted_at
    with pytest.raises(KeyboardInterrupt):
        ensure_account(accounts, tmp_path)
    account = ensure_account(accounts, tmp_path)
    assert accounts.passwords[account.user] == account.password
    assert account.api_key in accounts.keys
    assert accounts.administrators == {"demo"}
    assert ORIGIN_USER in accounts.passwords
    assert ensure_account(accounts, tmp_path) == account


class CommandLine:
    """The auth-service's command line, with a database in `folder`."""

    def __init__(self, folder: Path) -> None:
        others = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_")}
        self._environment = others | {
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'auth.db'}",
            "AUTH_INTROSPECTION_CREDENTIAL": secrets.token_hex(32),
        }

    def roles(self) -> dict[str, str]:
        lines = [line.split("\t") for line in self._run("user", "list").splitlines()]
        return {name: role for name, role, *_ in lines}

    def users(self) -> list[str]:
        return list(self.roles())

    def add_user(self, name: str, password: str, *, admin: bool = False) -> None:
        self._run("user", "add", name, "--password-stdin", *(["--admin"] if admin else []), stdin=password)

    def add_key(self, name: str) -> str:
        return self._run("key", "add", name).strip()

    def _run(self, *arguments: str, stdin: str = "") -> str:
        command = [sys.executable, "-m", "auth_service", *arguments]
        return subprocess.run(
            command, env=self._environment, input=stdin, stdout=subprocess.PIPE, text=True, check=True
        ).stdout


def test_the_account_with_the_public_secret_is_not_an_administrator(tmp_path: Path) -> None:
    accounts = CommandLine(tmp_path)
    account = ensure_account(accounts, tmp_path)
    assert accounts.roles() == {"demo": "admin", ORIGIN_USER: "user"}
    assert ensure_account(accounts, tmp_path) == account


def test_missing_accounts_are_created_again_and_a_missing_password_is_reported(tmp_path: Path) -> None:
    before = ensure_account(FakeAccounts(), tmp_path)
    accounts = FakeAccounts()
    assert ensure_account(accounts, tmp_path).password == before.password == accounts.passwords["demo"]
    assert len(accounts.keys) == 1
    (tmp_path / "account.json").unlink()
    with pytest.raises(AccountLost, match="the password of demo"):
        ensure_account(accounts, tmp_path)


def test_a_process_that_keeps_exiting_is_given_up_but_not_one_that_exits_rarely() -> None:
    restarts = Restarts()
    assert [restarts.count_exit("gateway-1", float(second)) for second in range(6)] == [True] * 5 + [False]
    assert restarts.count_exit("gateway-2", 6)
    assert all(restarts.count_exit("nginx", 61.0 * minute) for minute in range(20))


@pytest.mark.parametrize(
    ("version", "is_supported"), [((3, 9, 2), False), ((3, 10, 0), False), ((3, 13, 5), True), ((3, 14, 0), False)]
)
def test_an_unsupported_python_is_refused_with_the_supported_versions(
    version: tuple[int, ...], is_supported: bool
) -> None:
    assert ("3.11, 3.12 or 3.13 is needed" not in setup.version_error(version)) == is_supported


def test_an_old_python_can_parse_the_version_check() -> None:
    for module in ("__init__", "setup"):
        ast.parse((ROOT / f"dev/{module}.py").read_text(), feature_version=(3, 5))


@pytest.mark.parametrize(
    ("version", "is_enough"), [("v20.18.3", False), ("v20.19.0", True), ("v24.1.0", True), ("missing", False)]
)
def test_node_must_be_new_enough_to_build_the_page(version: str, is_enough: bool) -> None:
    assert is_new_enough(version) == is_enough
