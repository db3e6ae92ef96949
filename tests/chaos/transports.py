"""The transports of an answer's frames: server-sent events, a WebSocket, and OpenAI's own client."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

# An answer that waits for the engine is silent too; then reconnecting costs no more than a connection.
SILENCE_SECONDS = 2.0
CONNECT_SECONDS = 2.0

Body = dict[str, Any]


class ConnectionBroken(Exception):
    """The connection closed or is silent."""


class Refused(Exception):
    """An error instead of an answer."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and with which key a client reaches the stack."""

    port: int
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def api(self) -> httpx2.AsyncClient:
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
        return httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}/v1", headers=self.headers, timeout=timeout, limits=limits
        )


class Transport(Protocol):
    """Frames up to the terminal one. Raises ConnectionBroken or Refused."""

    name: str

    def ask(self, body: Body) -> AsyncGenerator[str]: ...
    def resume(self, response_id: str, starting_after: int) -> AsyncGenerator[str]: ...


class ServerSentEvents:
    name = "SSE"

    def __init__(self, endpoint: Endpoint, api: httpx2.AsyncClient) -> None:
        self._api = api

    def ask(self, body: Body) -> AsyncGenerator[str]:
        return self._frames("POST", "/responses", json={**body, "stream": True})

    def resume(self, response_id: str, starting_after: int) -> AsyncGenerator[str]:
        after = {} if starting_after < 0 else {"starting_after": starting_after}
        return self._frames("GET", f"/responses/{response_id}", params={"stream": "true", **after})

    async def _frames(self, method: str, path: str, **request: Any) -> AsyncGenerator[str]:
        try:
            async with self._api.stream(method, path, **request) as answer:
                if answer.status_code != 200:
                    raise Refused(answer.status_code, _code(await answer.aread()))
                async for line in answer.aiter_lines():
                    if line.startswith("data: {"):
                        yield line.removeprefix("data: ")
        except (httpx2.HTTPError, AttributeError) as exc:
            # anyio on uvloop: a connection that closed while it was being opened has no socket.
            raise ConnectionBroken from exc


class Socket:
    name = "WebSocket"

    def __init__(self, endpoint: Endpoint, api: httpx2.AsyncClient) -> None:
        self._endpoint = endpoint

    def ask(self, body: Body) -> AsyncGenerator[str]:
        return self._frames("", {"type": "response.create", **body})

    def resume(self, response_id: str, starting_after: int) -> AsyncGenerator[str]:
        after = "" if starting_after < 0 else f"&starting_after={starting_after}"
        return self._frames(f"?resume={response_id}{after}", None)

    async def _frames(self, query: str, create: Body | None) -> AsyncGenerator[str]:
        url = f"ws://127.0.0.1:{self._endpoint.port}/v1/responses{query}"
        try:
            async with connect(
                url, additional_headers=self._endpoint.headers, open_timeout=CONNECT_SECONDS, close_timeout=0.2
            ) as socket:
                if create is not None:
                    await socket.send(json.dumps(create))
                async for frame in socket:
                    event = json.loads(frame)
                    if event["type"] == "error" and "sequence_number" not in event:
                        raise Refused(event["status"], event["error"]["code"])
                    yield str(frame)
        except InvalidStatus as exc:
            raise Refused(exc.response.status_code, _code(exc.response.body or b"")) from exc
        except (WebSocketException, InvalidHandshake, OSError, TimeoutError) as exc:
            raise ConnectionBroken from exc


class StockSdk:
    """OpenAI's own client; it resumes as its documentation describes."""

    name = "stock SDK"

    def __init__(self, endpoint: Endpoint, api: httpx2.AsyncClient) -> None:
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        self._client = AsyncOpenAI(base_url=str(api.base_url), api_key=endpoint.key, max_retries=0, timeout=timeout)

    def ask(self, body: Body) -> AsyncGenerator[str]:
        return self._frames(lambda: self._client.responses.create(**body, stream=True))

    def resume(self, response_id: str, starting_after: int) -> AsyncGenerator[str]:
        after = openai.omit if starting_after < 0 else starting_after
        return self._frames(lambda: self._client.responses.retrieve(response_id, stream=True, starting_after=after))

    async def _frames(self, begin: Callable[[], Awaitable[AsyncStream[Any]]]) -> AsyncGenerator[str]:
        try:
            async with await begin() as stream:
                async for event in stream:
                    yield event.to_json(indent=None)
        except openai.APIStatusError as exc:
            raise Refused(exc.status_code, _code(exc.response.content)) from exc
        except (openai.APIConnectionError, httpx2.HTTPError, AttributeError) as exc:
            raise ConnectionBroken from exc


TRANSPORTS: tuple[Callable[[Endpoint, httpx2.AsyncClient], Transport], ...] = (ServerSentEvents, Socket)


def _code(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "no error body"
