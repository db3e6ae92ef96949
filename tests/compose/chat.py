"""A client of the stack: HTTP and one WebSocket through the published port."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from websockets.sync.client import connect


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, *, body: object = None, method: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    """An error status is an answer too."""
    data = None if body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **(headers or {})}
    request = Request(url, data, given, method=method)  # noqa: S310 - the stack's own address
    try:
        with urlopen(request, timeout=30) as response:  # noqa: S310
            return Answer(response.status, response.headers, response.read())
    except HTTPError as exc:
        with exc:
            return Answer(exc.code, exc.headers, exc.read())


@dataclass(frozen=True, slots=True)
class Chat:
    url: str
    cookie: str

    @classmethod
    def log_in(cls, url: str, name: str, password: str) -> "Chat":
        answer = ask(f"{url}/auth/login", body={"username": name, "password": password})
        assert answer.status == 200, answer.body
        return cls(url, answer.headers["Set-Cookie"].partition(";")[0])

    def ask(self, path: str, body: object = None, method: str | None = None) -> Answer:
        return ask(f"{self.url}{path}", body=body, method=method, headers={"Cookie": self.cookie, "Origin": self.url})

    def answers(self, path: str) -> bool:
        """False while no server listens."""
        try:
            return self.ask(path).status == 200
        except OSError:
            return False

    def say(self, text: str) -> list[dict[str, Any]]:
        """Sends a message in a new conversation and returns all events of the answer."""
        return list(self.stream(text))

    def stream(self, text: str) -> Iterator[dict[str, Any]]:
        """As `say`, event by event."""
        made = self.ask("/v1/conversations", {})
        assert made.status == 200, made.body
        conversation = made.json()["id"]
        address = f"{self.url.replace('http', 'ws', 1)}/v1/responses"
        with connect(address, origin=self.url, additional_headers={"Cookie": self.cookie}) as socket:  # type: ignore[arg-type]
            socket.send(json.dumps({"type": "response.create", "conversation": conversation, "input": text}))
            event: dict[str, Any] = {"type": ""}
            while event["type"] not in ("response.completed", "response.failed", "error"):
                event = json.loads(socket.recv(timeout=30))
                yield event
