import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect

from dev.stack import Plan, Stack
from gateway.context.title import INSTRUCTION

ORIGIN_SECRET = "x" * 26
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class House:
    """A running stack with two users, as a client sees it."""

    stack: Stack
    alice: str
    bob: str

    @property
    def socket_url(self) -> str:
        return f"ws://127.0.0.1:{self.stack.port}"

    def client(self, key: str) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"http://127.0.0.1:{self.stack.port}/v1", api_key=key, max_retries=0)

    def socket(self, key: str, *, gateway: int | None = None, query: str = "") -> connect:
        """Through nginx, or straight to one gateway."""
        port = self.stack.port if gateway is None else self.stack.gateway(gateway).command.port
        headers = {"Authorization": f"Bearer {key}"}
        return connect(f"ws://127.0.0.1:{port}/v1/responses?{query}", additional_headers=headers)

    def plain_text(self, user: str, secret: str, *, gateway: int | None = None) -> connect:
        port = self.stack.port if gateway is None else self.stack.gateway(gateway).command.port
        return connect(f"ws://127.0.0.1:{port}/ws?{urlencode({'userid': user, 'secret': secret})}")

    async def conversation(self, key: str) -> str:
        """A new one's id."""
        async with self.client(key) as client:
            return (await client.conversations.create()).id

    async def items(self, key: str, conversation_id: str) -> list[tuple[str, str, str]]:
        """Role, text and status of each, oldest first."""
        async with self.client(key) as client:
            page = await client.conversations.items.list(conversation_id, order="asc", limit=100)
        found = [item.to_dict() for item in page.data]
        return [(str(one["role"]), one["content"][0]["text"], str(one["status"])) for one in found]  # type: ignore[index]

    async def newest_items(self, key: str) -> list[tuple[str, str, str]]:
        """Of the conversation that something happened in last."""
        async with self.client(key) as client:
            page = await client.get("/conversations", cast_to=httpx2.Response)
        return await self.items(key, page.json()["data"][0]["id"])

    def asked(self) -> list[dict[str, Any]]:
        """Every chat the engine was asked for, oldest first."""
        found = httpx2.get(f"{self._engine}/requests").json()["data"]
        return [one for one in found if one["path"] == "/v1/chat/completions"]

    def prompts(self) -> list[list[dict[str, str]]]:
        """The messages of every chat the engine was asked for, oldest first; titles are made whenever there is time."""
        chats = [one["body"]["messages"] for one in self.asked()]
        return [messages for messages in chats if messages[0]["content"] != INSTRUCTION]

    def at_the_engine(self, text: str) -> dict[str, Any]:
        """The `state` and the `tokens` made of the newest chat whose last message is `text`."""
        found: dict[str, Any] = [one for one in self.asked() if one["body"]["messages"][-1]["content"] == text][-1]
        return found

    def log_in(self, user: str, password: str) -> str:
        """The session cookie, as `name=value`."""
        url = f"http://127.0.0.1:{self.stack.port}/auth/login"
        answer = httpx2.post(url, json={"username": user, "password": password})
        return str(answer.headers["Set-Cookie"]).partition(";")[0]

    def harm(self) -> list[str]:
        """Every traceback of a gateway, and every request that nginx answered with a 5xx."""
        logs = self.stack.plan.directory
        failures = [line for log in logs.glob("log/gateway-*.log") for line in log.read_text().splitlines()]
        requests = (logs / "nginx/access.log").read_text().splitlines()
        return [line for line in failures if "Traceback" in line] + [line for line in requests if '"status":"5' in line]

    @property
    def _engine(self) -> str:
        return self.stack.engine_url.removesuffix("/v1")


def come_from(url: str, address: str) -> httpx2.AsyncClient:
    """A client of another address: what it guesses or floods with is nobody else's."""
    return httpx2.AsyncClient(base_url=url, transport=httpx2.AsyncHTTPTransport(local_address=address), timeout=60)


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Stack(Plan(tmp_path_factory.mktemp("stack"), engine="scripted", gateways=2)) as stack:
        yield furnish(stack)


@pytest.fixture(scope="session")
def narrow_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """With limits that a test can reach."""
    settings = {
        "GATEWAY_SOCKETS_PER_USER": "3",
        "GATEWAY_SOCKET_AGE_SECONDS": "4",
        "GATEWAY_SOCKET_FIRST_EVENT_SECONDS": "1",
        "GATEWAY_MAX_OUTPUT_TOKENS": "4",
    }
    with Stack(Plan(tmp_path_factory.mktemp("narrow"), gateways=1, gateway=settings)) as stack:
        yield furnish(stack)


@pytest.fixture
def unharmed(house: House) -> Iterator[None]:
    """Whatever the test has sent, nothing failed, and the next valid request is answered."""
    before = house.harm()
    yield
    assert house.harm() == before
    headers = {"Authorization": f"Bearer {house.alice}"}
    assert httpx2.get(f"{house.stack.url}/v1/models", headers=headers).status_code == 200


def furnish(stack: Stack) -> House:
    stack.add_user("alice", PASSWORD)
    stack.add_user("bob", PASSWORD)
    stack.add_user("carol", PASSWORD)
    stack.add_user("12345", ORIGIN_SECRET)
    return House(stack, stack.add_key("alice"), stack.add_key("bob"))


async def begun(house: House, text: str) -> None:
    """The engine has made some of the answer."""
    while True:
        with suppress(IndexError):
            if house.at_the_engine(text)["tokens"] > 0:
                return
        await asyncio.sleep(0.02)


async def ask(socket: ClientConnection, text: str, **fields: object) -> list[dict[str, Any]]:
    """All events of one answer."""
    await socket.send(json.dumps({"type": "response.create", "input": text, **fields}))
    return await until_the_end(socket)


async def until_the_end(socket: ClientConnection) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    async for frame in socket:
        events.append(json.loads(frame))
        last = events[-1]
        refused = last["type"] == "error" and "sequence_number" not in last
        if refused or last["type"] in {"response.completed", "response.incomplete", "response.failed"}:
            return events
    raise AssertionError(f"the socket closed behind {events[-1:]}")


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
