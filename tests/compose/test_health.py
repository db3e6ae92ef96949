"""Health checks cost little, tolerate a loaded host, and notice a service that hangs."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.compose.chat import Chat
from tests.compose.project import Project, run

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

CHECKED = ["nginx", "gateway", "auth-service", "redis", "vllm"]
RUNS = 50
BUSY_PROCESSES = 20
BUSY_SECONDS = 30
# docs/operations.md
NOTICED_WITHIN_SECONDS = 60

# `times` prints the CPU time of the shell, and then of its children: minutes and seconds of each, user and system.
REPEAT = f'i=0; while [ $i -lt {RUNS} ]; do "$@" > /dev/null || exit 1; i=$((i + 1)); done; times'


def check_of(container: dict[str, Any]) -> list[str]:
    kind, *command = container["Config"]["Healthcheck"]["Test"]
    return ["sh", "-c", *command] if kind == "CMD-SHELL" else command


def health(container: dict[str, Any]) -> str:
    return str(container["State"]["Health"]["Status"])


def until_healthy(stack: Project, services: list[str], expected: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while seen := {one for name in services for one in map(health, stack.containers_of(name))} - {expected}:
        assert time.monotonic() < end, f"{seen} after {seconds} s, expected {expected}"
        time.sleep(0.5)


@contextmanager
def busy_host() -> Iterator[None]:
    """Several processes for each CPU that never sleep, at a low priority for the sake of others on this machine."""
    command = ["nice", "-n", "5", sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(BUSY_PROCESSES)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("service", CHECKED)
def test_a_check_costs_milliseconds_of_cpu(stack: Project, service: str) -> None:
    check = check_of(stack.containers_of(service)[0])
    printed = stack.execute(service, "sh", "-c", REPEAT, "sh", *check)
    of_children = re.findall(r"(\d+)m([\d.]+)s", printed.splitlines()[-1])
    milliseconds = sum(60 * int(minutes) + float(seconds) for minutes, seconds in of_children) / RUNS * 1000
    # A Python took 300.
    assert milliseconds < 30


def test_a_loaded_host_makes_nothing_unhealthy_and_another_gateway_starts(stack: Project, chat: Chat) -> None:
    until_healthy(stack, CHECKED, "healthy", 60)
    with busy_host():
        begun, seen = time.monotonic(), set[str]()
        stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "gateway=2")
        while time.monotonic() < begun + BUSY_SECONDS:
            seen |= {health(one) for one in stack.containers() if "Health" in one["State"]}
            time.sleep(1)
        assert chat.say("hello")[-1]["type"] == "response.completed"
    assert seen == {"healthy"}
    checks = [one["State"]["Health"]["Log"] for one in stack.containers() if "Health" in one["State"]]
    assert {check["ExitCode"] for log in checks for check in log[-2:]} == {0}
    stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "gateway=1")


def test_a_service_that_hangs_is_unhealthy_within_a_minute_and_healthy_when_it_continues(
    stack: Project, chat: Chat
) -> None:
    hanging = ["gateway", "auth-service", "redis"]
    until_healthy(stack, hanging, "healthy", 60)
    ids = [one["Id"] for name in hanging for one in stack.containers_of(name)]
    run("docker", "kill", "--signal", "STOP", *ids)
    try:
        # Three seconds for the queries themselves.
        until_healthy(stack, hanging, "unhealthy", NOTICED_WITHIN_SECONDS + 3)
    finally:
        run("docker", "kill", "--signal", "CONT", *ids)
    until_healthy(stack, hanging, "healthy", 60)
    assert chat.say("hello")[-1]["type"] == "response.completed"


def test_nginx_has_as_many_workers_as_fit_into_its_container(stack: Project) -> None:
    written = stack.execute("nginx", "cat", "/tmp/nginx/workers.conf")  # noqa: S108 - in the container
    workers, connections = (int(number) for number in re.findall(r" (\d+);", written))
    limit = stack.containers_of("nginx")[0]["HostConfig"]["Memory"]
    assert 1 <= workers <= limit // (32 * 2**20)
    assert workers * connections * 12 * 1024 <= 0.6 * limit


def test_nginx_does_not_start_with_an_invalid_network(stack: Project) -> None:
    image = stack.containers_of("nginx")[0]["Config"]["Image"]
    command = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp:mode=1777"]  # noqa: S108 - in the container
    setting = "PARLEY_TRUSTED_PROXIES=10.0.0.0/8,10.0.0.1/8"
    done = subprocess.run([*command, "--env", setting, image], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert (
        'PARLEY_TRUSTED_PROXIES is invalid: expected addresses or networks such as 10.0.0.0/8, got "10.0.0.1/8".'
        in (done.stderr)
    )
