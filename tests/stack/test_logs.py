"""No credential and no text of a message is in any log, error or key name; canaries are planted everywhere."""

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from dev.stack import Plan, Stack
from tests.stack.conftest import ORIGIN_SECRET, PASSWORD, Deployment, ask, create_users

MESSAGE = "canary-of-a-message"
NEW_PASSWORD = "canary-of-a-new-password"
WRONG = "canary-of-a-wrong-secret"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of its own, because the test reads all of its logs."""
    plan = Plan(tmp_path_factory.mktemp("logs"), gateways=2, auth={"AUTH_REGISTRATION": "invite"})
    with Stack(plan) as stack:
        yield create_users(stack)


class RecordingClient:
    """An administrator's HTTP client that records every refusal."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self.refusals: list[str] = []

    async def send(self, method: str, path: str, body: object = None, **headers: str) -> httpx2.Response:
        answer = await self._http.request(method, path, json=body, headers=headers)
        if not answer.is_success:
            self.refusals.append(answer.text + str(answer.headers))
        return answer

    async def create(self, path: str, field: str, body: object = None) -> str:
        return str((await self.send("POST", path, body)).json()[field])


async def use_secrets(deployment: Deployment, client: RecordingClient) -> list[str]:
    """Uses every kind of secret, first as intended and then where it does not belong; returns the secrets."""
    me = (await client.send("GET", "/auth/me")).json()["id"]
    key = await client.create("/auth/keys", "key", {"name": "laptop"})
    invite = (await client.create("/auth/admin/invites", "link", {})).partition("=")[2]
    reset = (await client.create(f"/auth/admin/users/{me}/reset", "link")).partition("=")[2]
    ticket = await client.create("/auth/tickets", "ticket")
    async with with_ticket(deployment, ticket) as socket:
        await ask(socket, MESSAGE)
    with pytest.raises(InvalidStatus) as again:
        await with_ticket(deployment, ticket)
    client.refusals.append(str(again.value.response.body))
    secrets = [key, invite, reset, ticket, NEW_PASSWORD, WRONG]
    for one in secrets:
        for path in ["/auth/me", "/auth/tickets", "/v1/conversations", "/v1/nowhere", "/nowhere"]:
            await client.send("GET", f"{path}?secret={one}", Authorization=f"Bearer {one}x", Referer=f"http://x/{one}")
        for path in ["/auth/login", "/auth/register", "/auth/reset", "/auth/password", "/v1/responses"]:
            await client.send("POST", path, {"username": one, "password": [one], "token": {one[:9]: one}, "input": one})
            await client.send("POST", path, {"username": "nobody", "password": one, "token": one, "invite": one})
    await client.send("POST", "/auth/register", {"username": "dora", "password": NEW_PASSWORD, "invite": invite})
    await client.send("POST", "/auth/reset", {"token": reset, "password": NEW_PASSWORD})
    return secrets


def with_ticket(deployment: Deployment, ticket: str) -> connect:
    offered = ["openai-responses", f"openai-insecure-api-key.{ticket}"]
    return connect(f"{deployment.socket_url}/v1/responses", subprotocols=offered)  # type: ignore[arg-type]


async def test_no_secret_and_no_message_is_in_any_log_error_or_key(deployment: Deployment) -> None:
    folder = deployment.stack.plan.directory
    for secret in (ORIGIN_SECRET, WRONG):
        async with deployment.plain_text("12345", secret) as socket:
            await socket.send(f"[[text=.]] {MESSAGE}")
            await socket.recv()
    async with deployment.socket(deployment.alice) as responses:
        await ask(responses, MESSAGE)
        await responses.send(json.dumps({"type": "response.create", "input": 1, "model": WRONG, "secret": WRONG}))
        refusal = str(await responses.recv())
    cookie = deployment.log_in("alice", PASSWORD)
    headers = {"Cookie": cookie, "Origin": deployment.stack.url}
    async with httpx2.AsyncClient(base_url=deployment.stack.url, headers=headers, timeout=60) as http:
        client = RecordingClient(http)
        planted = await use_secrets(deployment, client)
    async with Redis.from_url(deployment.stack.redis_admin_url) as redis:
        keys = "\n".join([key.decode() async for key in redis.scan_iter()])
    await wait_for_logs(deployment, answers=3)
    made = [file.read_text() for file in (folder / "secrets").iterdir()]
    assert len(made) == 6
    secrets = [
        ORIGIN_SECRET,
        PASSWORD,
        deployment.alice,
        deployment.bob,
        cookie.partition("=")[2],
        MESSAGE,
        *planted,
        *made,
    ]
    places = {log.name: log.read_text(errors="replace") for log in logs(folder)}
    assert {"gateway-1.log", "gateway-2.log", "auth-service.log", "access.log", "error.log"} <= places.keys()
    places |= {"keys": keys, "refusals": "\n".join([*client.refusals, refusal])}
    found = [
        (place, one) for place, text in places.items() for secret in secrets for one in encodings(secret) if one in text
    ]
    assert found == []
    assert '"path":"/ws"' in places["access.log"]
    assert len(client.refusals) > 50
    assert "conversation" in keys


def logs(folder: Path) -> list[Path]:
    return [*folder.glob("log/*.log"), *folder.glob("nginx/*.log")]


def encodings(secret: str) -> list[str]:
    """The secret itself, without its public prefix, and as it would appear inside base64."""
    return [secret, secret[3:], base64.b64encode(secret.encode()).decode().rstrip("=")]


async def wait_for_logs(deployment: Deployment, *, answers: int) -> None:
    """Waits for the last log line of each answer."""
    while sum(log.read_text().count("turn ended") for log in logs(deployment.stack.plan.directory)) < answers:
        await asyncio.sleep(0.05)
