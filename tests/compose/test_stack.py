"""The product as it is deployed, with the scripted engine in the model's place."""

import json
import re
import time
from collections.abc import Callable

import pytest

from tests.compose.chat import Chat, ask
from tests.compose.project import Project, run

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

RUNNING = ["nginx", "gateway", "auth-service", "redis", "vllm"]


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Does not sleep, because the condition itself takes a while (it sends a request)."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"


def replicas_seen(stack: Project) -> set[str]:
    """The gateways in nginx' log. A request that nginx retried lists both: "dead, living"."""
    lines = [json.loads(line) for line in stack.logs("nginx").splitlines() if line.startswith("{")]
    return {
        line["upstream_addr"] for line in lines if line["path"].startswith("/v1/") and line["upstream_status"] != "502"
    }


def test_a_message_through_nginx_is_answered_token_by_token(chat: Chat) -> None:
    events = chat.say("hello")
    deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
    assert events[-1]["type"] == "response.completed", events[-1]
    assert len(deltas) > 1
    assert "".join(deltas) == events[-1]["response"]["output"][0]["content"][0]["text"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_the_page_is_served_with_its_policy_and_immutable_assets(chat: Chat) -> None:
    page = chat.ask("/c/conv_0")
    assert page.status == 200
    assert page.headers["Cache-Control"] == "no-cache"
    assert "require-trusted-types-for 'script'" in page.headers["Content-Security-Policy"]
    script = re.search(rb'src="(/assets/[^"]+\.js)"', page.body)
    assert script
    asset = chat.ask(script[1].decode())
    assert asset.status == 200
    assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert asset.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/introspect", "/readyz", "/metrics", "/socket", "/v1", "/WS", "/.env", "/assets/gone.js"]
)
def test_internal_paths_are_not_reachable_from_outside(chat: Chat, path: str) -> None:
    answer = chat.ask(path)
    assert answer.status == 404
    assert answer.json()["error"]["code"] == "not_found"


def test_only_nginx_has_a_published_port(stack: Project) -> None:
    published = {
        one["Config"]["Labels"]["com.docker.compose.service"]: [
            bound for bound in one["NetworkSettings"]["Ports"].values() if bound
        ]
        for one in stack.containers()
    }
    assert {name for name, bound in published.items() if bound} == {"nginx"}


@pytest.mark.parametrize("service", RUNNING)
def test_processes_run_as_an_ordinary_user_without_capabilities(stack: Project, service: str) -> None:
    status = dict(line.split(":", 1) for line in stack.execute(service, "cat", "/proc/1/status").splitlines())
    assert int(status["Uid"].split()[0]) > 0
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    root = next(
        line.split() for line in stack.execute(service, "cat", "/proc/1/mounts").splitlines() if line.split()[1] == "/"
    )
    assert "ro" in root[3].split(",")


@pytest.mark.parametrize("service", ["gateway", "auth-service", "redis", "vllm"])
def test_inner_services_have_no_route_out(stack: Project, service: str) -> None:
    routes = [line.split() for line in stack.execute(service, "cat", "/proc/net/route").splitlines()[1:]]
    assert routes, "a service without any network would prove nothing"
    assert not [route for route in routes if route[1] == "00000000"]


def test_secrets_are_readable_by_their_service_only_and_appear_nowhere_else(stack: Project) -> None:
    listed = stack.execute("gateway", "stat", "-c", "%a %u %n", "/run/secrets/gateway/server_key")
    assert listed.split()[:2] == ["400", "10001"]
    names = ("server_key", "redis_password", "introspection_credential")
    values = [stack.execute("gateway", "cat", f"/run/secrets/gateway/{name}") for name in names]
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in values)
    assert len(set(values)) == len(values)
    elsewhere = stack.logs() + json.dumps(stack.containers())
    assert not [name for name, value in zip(names, values, strict=True) if value in elsewhere]


def test_starting_again_keeps_the_secrets_and_the_sessions(stack: Project, chat: Chat) -> None:
    before = stack.execute("gateway", "cat", "/run/secrets/gateway/introspection_credential")
    stack.compose("up", "--detach", "--wait", "--force-recreate", "auth-service", "gateway")
    assert stack.execute("gateway", "cat", "/run/secrets/gateway/introspection_credential") == before
    until(lambda: chat.ask("/auth/me").status == 200, 30)
    assert chat.say("hello")[-1]["type"] == "response.completed"


@pytest.mark.parametrize("command", ["PING", "GET parley:x", "CONFIG GET *"])
def test_redis_refuses_a_client_without_a_password(stack: Project, command: str) -> None:
    assert "NOAUTH" in stack.execute("redis", "redis-cli", *command.split())


@pytest.mark.parametrize(
    "command", ["FLUSHALL", "CONFIG GET *", "KEYS *", "EVAL 0 0", "SHUTDOWN", "ACL LIST", "GET other:x"]
)
def test_the_gateway_cannot_administer_redis(stack: Project, command: str) -> None:
    password = stack.execute("gateway", "cat", "/run/secrets/gateway/redis_password")
    lines = f"AUTH gateway {password}\nPING\n{command}\n"
    answers = stack.execute("redis", "redis-cli", text=lines).split("\n", 2)
    assert answers[:2] == ["OK", "PONG"]
    assert answers[2].startswith("NOPERM")


@pytest.mark.parametrize("commands", [["restart redis"], ["kill redis", "up --detach --wait"]], ids=["restart", "kill"])
def test_a_conversation_survives_a_restart_of_redis(stack: Project, chat: Chat, commands: list[str]) -> None:
    response = chat.say("[[text=a lighthouse]]")[-1]["response"]
    conversation = response["conversation"]["id"]
    paths = [f"/v1/conversations/{conversation}/items", f"/v1/responses/{response['id']}"]
    before = [chat.ask(path) for path in paths]
    assert [answer.status for answer in before] == [200, 200]
    assert b"a lighthouse" in before[0].body
    for command in commands:
        stack.compose(*command.split())
    until(lambda: chat.ask("/v1/conversations").status == 200, 30)
    after = [chat.ask(path) for path in paths]
    assert [answer.json() for answer in after] == [answer.json() for answer in before]
    assert conversation in {one["id"] for one in chat.ask("/v1/conversations").json()["data"]}


def test_more_gateways_are_found_without_a_reload_and_a_dead_one_causes_no_error(stack: Project, chat: Chat) -> None:
    nginx = stack.containers_of("nginx")[0]["State"]["StartedAt"]
    stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "gateway=3")
    replicas = {
        f"{network['IPAddress']}:8000"
        for one in stack.containers_of("gateway")
        for name, network in one["NetworkSettings"]["Networks"].items()
        if name.endswith("_edge")
    }
    assert len(replicas) == 3
    until(lambda: chat.ask("/v1/conversations").status == 200 and replicas <= replicas_seen(stack), 30)
    assert stack.containers_of("nginx")[0]["State"]["StartedAt"] == nginx

    run("docker", "kill", stack.containers_of("gateway")[0]["Id"])
    assert {chat.ask("/v1/conversations", {}).status for _ in range(60)} == {200}
    assert chat.say("hello")[-1]["type"] == "response.completed"
    stack.compose("up", "--detach", "--wait", "--scale", "gateway=1")


def test_without_services_nginx_starts_and_its_error_has_retry_after(stack: Project, chat: Chat) -> None:
    stack.compose("stop", "gateway", "auth-service")
    try:
        stack.compose("restart", "nginx")
        until(lambda: chat.answers("/healthz"), 30)
        answer = chat.ask("/v1/conversations")
        assert answer.status in (502, 504)
        assert answer.json()["error"]["type"] == "server_error"
        assert answer.headers["Retry-After"] == "1"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert chat.ask("/").status == chat.ask("/healthz").status == 200
    finally:
        stack.compose("up", "--detach", "--wait")
    until(lambda: chat.ask("/v1/conversations").status == 200, 30)


def test_the_secret_of_the_plain_text_protocol_is_in_no_log(stack: Project, chat: Chat) -> None:
    canary = "canary-4a1f-in-the-query"
    paths = [
        f"{path}?userid=ada&secret={canary}"
        for path in ("/ws", "//ws", "/WS", "/ws/", "/v1/responses", "/auth/me", "/assets/x.js")
    ]
    paths += [f"/ws%3Fuserid=ada&secret={canary}", f"/ws?secret={canary}{'x' * 9000}"]

    def visit() -> None:
        for path in paths:
            for upgrade in ({}, {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}):
                given = {"Referer": f"{chat.url}{paths[0]}", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", **upgrade}
                ask(f"{chat.url}{path}", headers=given)

    visit()
    stack.compose("stop", "gateway")
    try:
        visit()
    finally:
        stack.compose("up", "--detach", "--wait", "gateway")
    until(lambda: chat.ask("/v1/conversations").status == 200, 30)  # nginx has learned its new address
    logged = stack.logs()
    assert '"path":"/ws"' in logged
    assert '"upstream_status":"502"' in logged or '"upstream_status":"504"' in logged
    assert canary not in logged


def test_every_service_exits_by_itself_on_sigterm(stack: Project, chat: Chat) -> None:
    assert chat.say("hello")[-1]["type"] == "response.completed"
    stack.compose("stop")
    codes = {
        one["Config"]["Labels"]["com.docker.compose.service"]: one["State"]["ExitCode"] for one in stack.containers()
    }
    assert {name: code for name, code in codes.items() if code} == {}
    stack.compose("up", "--detach", "--wait")
    until(lambda: chat.ask("/v1/conversations").status == 200, 30)
