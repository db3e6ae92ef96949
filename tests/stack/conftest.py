import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect

from dev.stack import Plan, Stack
from gateway.context.title import INSTRUCTION
from tests.chaos.disk import Disk, NoDisk
from tests.stack.accounts import create_accounts

ORIGIN_SECRET = "x" * 26
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Deployment:
    """A running stack and the API keys of two users."""

    stack: Stack
    alice: str
    bob: str

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.stack.port}"

    def client(self, key: str) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"http://127.0.0.1:{self.stack.port}/v1", api_key=key, max_retries=0)

    def socket(self, key: str, *, gateway: int | None = None, query: str = "") -> connect:
        """Through nginx, or directly to one gateway."""
        port = self.stack.port if gateway is None else self.stack.gateway(gateway).command.port
        headers = {"Authorization": f"Bearer {key}"}
        return connect(f"ws://127.0.0.1:{port}/v1/responses?{query}", additional_headers=headers)

    def plain_text(self, user: str, secret: str, *, gateway: int | None = None) -> connect:
        port = self.stack.port if gateway is None else self.stack.gateway(gateway).command.port
        return connect(f"ws://127.0.0.1:{port}/ws?{urlencode({'userid': user, 'secret': secret})}")

    async def conversation(self, key: str) -> str:
        """The id of a new conversation."""
        async with self.client(key) as client:
            return (await client.conversations.create()).id

    async def items(self, key: str, conversation_id: str) -> list[tuple[str, str, str]]:
        """Role, text and status of each, oldest first."""
        async with self.client(key) as client:
            page = await client.conversations.items.list(conversation_id, order="asc", limit=100)
        found = [item.to_dict() for item in page.data]
        return [(str(one["role"]), one["content"][0]["text"], str(one["status"])) for one in found]  # type: ignore[index]

    async def latest_items(self, key: str) -> list[tuple[str, str, str]]:
        """The items of the most recently used conversation."""
        async with self.client(key) as client:
            page = await client.get("/conversations", cast_to=httpx2.Response)
        return await self.items(key, page.json()["data"][0]["id"])

    def engine_chats(self) -> list[dict[str, Any]]:
        """Every chat request that the engine received, oldest first."""
        found = httpx2.get(f"{self._engine}/requests").json()["data"]
        return [one for one in found if one["path"] == "/v1/chat/completions"]

    def prompts(self) -> list[list[dict[str, str]]]:
        """The messages of every chat request, oldest first, without those for titles, which come at any time."""
        chats = [one["body"]["messages"] for one in self.engine_chats()]
        return [messages for messages in chats if messages[0]["content"] != INSTRUCTION]

    def engine_request(self, text: str) -> dict[str, Any]:
        """The newest chat request whose last message is `text`, with its `state` and its number of `tokens`."""
        found: dict[str, Any] = [one for one in self.engine_chats() if one["body"]["messages"][-1]["content"] == text][
            -1
        ]
        return found

    def log_in(self, user: str, password: str) -> str:
        """The session cookie, as `name=value`."""
        url = f"http://127.0.0.1:{self.stack.port}/auth/login"
        answer = httpx2.post(url, json={"username": user, "password": password})
        return str(answer.headers["Set-Cookie"]).partition(";")[0]

    def server_errors(self) -> list[str]:
        """Every traceback of a gateway, and every request that nginx answered with a 5xx."""
        logs = self.stack.plan.directory
        failures = [line for log in logs.glob("log/gateway-*.log") for line in log.read_text().splitlines()]
        requests = (logs / "nginx/access.log").read_text().splitlines()
        return [line for line in failures if "Traceback" in line] + [line for line in requests if '"status":"5' in line]

    @property
    def _engine(self) -> str:
        return self.stack.engine_url.removesuffix("/v1")


def client_from(url: str, address: str) -> httpx2.AsyncClient:
    """A client with another source address, which has its own rate limits."""
    return httpx2.AsyncClient(base_url=url, transport=httpx2.AsyncHTTPTransport(local_address=address), timeout=60)


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Stack(Plan(tmp_path_factory.mktemp("stack"), engine="scripted", gateways=2)) as stack:
        yield create_users(stack)


@pytest.fixture(scope="session")
def limited_deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment with limits that a test can reach."""
    settings = {
        "GATEWAY_SOCKETS_PER_USER": "3",
        "GATEWAY_ANSWERS_PER_USER": "2",
        "GATEWAY_SOCKET_AGE_SECONDS": "4",
        "GATEWAY_SOCKET_FIRST_EVENT_SECONDS": "1",
        "GATEWAY_MAX_OUTPUT_TOKENS": "4",
    }
    with Stack(Plan(tmp_path_factory.mktemp("narrow"), gateways=1, gateway=settings)) as stack:
        yield create_users(stack)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small one for Redis alone, at `tmp_path / "redis"`, where a stack has its data too."""
    try:
        disk = Disk(tmp_path / "redis")
    except NoDisk as exc:
        pytest.skip(str(exc))
    yield disk
    disk.remove()


@pytest.fixture
def no_server_errors(deployment: Deployment) -> Iterator[None]:
    """Checks that the test caused no server error and that the next valid request is answered."""
    before = deployment.server_errors()
    yield
    assert deployment.server_errors() == before
    headers = {"Authorization": f"Bearer {deployment.alice}"}
    assert httpx2.get(f"{deployment.stack.url}/v1/models", headers=headers).status_code == 200


def create_users(stack: Stack) -> Deployment:
    passwords = {"alice": PASSWORD, "bob": PASSWORD, "carol": PASSWORD, "12345": ORIGIN_SECRET}
    alice, bob = create_accounts(stack, passwords, keys=("alice", "bob"))
    return Deployment(stack, alice, bob)


async def wait_until_generating(deployment: Deployment, text: str) -> None:
    """Waits until the engine has generated a part of the answer."""
    while True:
        with suppress(IndexError):
            if deployment.engine_request(text)["tokens"] > 0:
                return
        await asyncio.sleep(0.02)


async def ask(socket: ClientConnection, text: str, **fields: object) -> list[dict[str, Any]]:
    """All events of one answer."""
    await socket.send(json.dumps({"type": "response.create", "input": text, **fields}))
    return await receive_all(socket)


async def receive_all(socket: ClientConnection) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    async for frame in socket:
        events.append(json.loads(frame))
        last = events[-1]
        refused = last["type"] == "error" and "sequence_number" not in last
        if refused or last["type"] in {"response.completed", "response.incomplete", "response.failed"}:
            return events
    raise AssertionError(f"the socket closed after {events[-1:]}")


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
