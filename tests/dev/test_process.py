"""Processes of the stack, and the ports they listen on."""

import os
import signal
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from dev import nginx
from dev.ports import explain, free_port, free_ports, is_free
from dev.process import Command, Process, StartFailed, stop_all
from dev.stack import ROOT


def wait_for_group_exit(number: int) -> None:
    """A process exists until its parent has reaped it; bounded by the test's timeout."""
    while True:
        try:
            os.killpg(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)


def running_nginx(folder: Path) -> Process:
    port, *services = free_ports(3)
    text = nginx.configuration(ROOT, folder, port=port, gateway_ports=services[:1], auth_port=services[1])
    (folder / "nginx.conf").write_text(text)
    command = Command("nginx", nginx.arguments(folder), lambda: listens(port), port)
    process = Process(command, folder / "log", folder)
    process.start()
    process.wait_ready()
    return process


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def shell(name: str, script: str, folder: Path) -> Process:
    """Ready when it has created the file `name`."""
    arguments = ["sh", "-c", f"{script}; touch {name}; while :; do sleep 0.01; done"]
    process = Process(Command(name, arguments, (folder / name).exists, 0), folder / f"{name}.log", folder)
    process.start()
    process.wait_ready()
    return process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "with a space"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


def test_workers_that_outlive_their_master_do_not_block_a_restart_and_are_killed(folder: Path) -> None:
    process = running_nginx(folder)
    try:
        groups = [process.pid]
        os.kill(process.pid, signal.SIGKILL)
        process.restart()
        groups.append(process.pid)
        assert listens(process.command.port)
    finally:
        process.stop()
    for group in groups:
        wait_for_group_exit(group)
    assert is_free(process.command.port)


def test_a_stop_also_kills_workers_that_outlived_their_master(folder: Path) -> None:
    process = running_nginx(folder)
    os.kill(process.pid, signal.SIGKILL)
    while process.running:
        time.sleep(0.01)
    process.stop()
    wait_for_group_exit(process.pid)
    assert is_free(process.command.port)


def test_all_are_signalled_before_any_is_waited_for(tmp_path: Path) -> None:
    """Each exits only when the other has been signalled too."""
    trap = "trap 'touch {own}-asked; while [ ! -e {other}-asked ]; do sleep 0.01; done; exit 0' TERM"
    both = [
        shell("one", trap.format(own="one", other="two"), tmp_path),
        shell("two", trap.format(own="two", other="one"), tmp_path),
    ]
    stop_all(both)
    assert [process.exit_code for process in both] == [0, 0]


def test_a_process_that_ignores_sigterm_is_killed_even_while_it_is_paused(tmp_path: Path) -> None:
    process = shell("deaf", "trap '' TERM", tmp_path)
    process.pause()
    process.stop(within_seconds=0.1)
    assert process.exit_code == -signal.SIGKILL
    wait_for_group_exit(process.pid)


def test_a_process_that_does_not_speak_http_is_not_ready_and_its_exit_is_reported(tmp_path: Path) -> None:
    def ready() -> bool:
        raise ValueError

    process = Process(Command("mute", ["sh", "-c", "sleep 0.2; echo its last words"], ready, 0), tmp_path / "log", ROOT)
    process.start()
    with pytest.raises(StartFailed, match=r"mute exited while starting(?s:.*)its last words"):
        process.wait_ready()
    process.stop()


def test_ports_drawn_together_differ() -> None:
    assert len(set(free_ports(200))) == 200


def test_a_port_in_use_is_not_free() -> None:
    port = free_port()
    assert is_free(port)
    with closing(socket.create_server(("127.0.0.1", port))):
        assert not is_free(port)


@pytest.mark.parametrize(
    ("port", "error", "message"),
    [
        (80, PermissionError(), "port 80 needs root; choose one from 1024 on: make demo PORT=7777"),
        (7777, OSError(), "port 7777 is taken; choose another: make demo PORT=7778"),
        (65535, OSError(), "port 65535 is taken; choose another: make demo PORT=65534"),
    ],
)
def test_the_explanation_of_a_bind_error_suggests_another_port(port: int, error: OSError, message: str) -> None:
    assert explain(port, error) == message
