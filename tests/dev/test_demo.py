"""`make demo` as a user runs it, with the scripted engine."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx2
import pytest

from dev.ports import free_port
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
    raise AssertionError(f"it ended without {text!r}:\n{seen}")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_ends_with_an_address_and_an_account_that_works_and_a_second_start_keeps_them(tmp_path: Path) -> None:
    notes = []
    for _ in range(2):
        with demo(tmp_path) as process:
            seen = read_until(process, "Ctrl-C stops everything")
            note = json.loads((tmp_path / "demo.json").read_text())
            notes.append(note)
            assert note["url"] in seen
            assert note["password"] in seen
            credentials = {"username": note["user"], "password": note["password"]}
            assert httpx2.post(f"{note['url']}/auth/login", json=credentials).status_code == 200
            with_key = {"Authorization": f"Bearer {note['api_key']}"}
            assert httpx2.get(f"{note['url']}/v1/conversations", headers=with_key).status_code == 200
            pids = [one["pid"] for one in note["processes"]]
            assert all(is_alive(pid) for pid in pids)
            assert all(Path(one["log"]).exists() and one["port"] for one in note["processes"])
        assert not any(is_alive(pid) for pid in pids)
        assert not (tmp_path / "demo.json").exists()
    assert notes[0]["api_key"] == notes[1]["api_key"]
    names = [one["name"] for one in notes[0]["processes"]]
    assert names == ["redis", "auth-service", "scripted-engine", "gateway-1", "gateway-2", "nginx"]


def test_a_process_that_dies_is_started_again_and_the_note_says_so(tmp_path: Path) -> None:
    with demo(tmp_path, GATEWAYS="1") as process:
        read_until(process, "Ctrl-C stops everything")
        first = {one["name"]: one["pid"] for one in json.loads((tmp_path / "demo.json").read_text())["processes"]}
        os.kill(first["gateway-1"], signal.SIGKILL)
        read_until(process, "gateway-1 runs again")
        note = json.loads((tmp_path / "demo.json").read_text())
        second = {one["name"]: one["pid"] for one in note["processes"]}
        assert second["gateway-1"] != first["gateway-1"]
        headers = {"Authorization": f"Bearer {note['api_key']}"}
        assert httpx2.get(f"{note['url']}/v1/conversations", headers=headers).status_code == 200


def test_killing_it_outright_leaves_no_process_either(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "Ctrl-C stops everything")
        pids = [one["pid"] for one in json.loads((tmp_path / "demo.json").read_text())["processes"]]
        process.kill()
        process.wait()
        while any(is_alive(pid) for pid in pids):  # the test's own time limit ends this
            pass


def test_a_second_demo_in_the_same_folder_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "Ctrl-C stops everything")
        with demo(tmp_path) as second:
            assert "already" in read_until(second, "parley:")
            assert second.wait() == 1
        note = json.loads((tmp_path / "demo.json").read_text())
        assert httpx2.get(note["url"]).status_code == 200


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"PORT": "abc"}, "PORT='abc': expected a number from 1 to 65535"),
        ({"GATEWAYS": "0"}, "GATEWAYS='0': expected a number from 1 to 16"),
        ({"ENGINE": "gpt"}, "ENGINE='gpt': expected vllm, scripted, or a base URL"),
        ({"ENGINE": "http://127.0.0.1:9/v1"}, "no model server answers at http://127.0.0.1:9/v1"),
    ],
)
def test_what_it_can_not_use_is_one_clear_sentence(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    with demo(tmp_path, **variables) as process:
        sentence = read_until(process, "parley:")
        assert said in sentence
        assert "Traceback" not in sentence
        assert process.wait() == 1
    assert not (tmp_path / "demo.json").exists()


def test_a_port_already_taken_is_named_before_anything_starts(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        with demo(tmp_path, PORT=port) as process:
            assert f"port {port} is taken" in read_until(process, "parley:")
    assert not (tmp_path / "log").exists()
