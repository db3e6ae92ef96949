"""A client that checks everything it returns against Open Responses."""

import json
import re

import httpx2
from websockets.asyncio.client import ClientConnection

from tests.contract import conformance
from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment, receive_all

MODEL = "parley-demo"
WEATHER: Wire = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a place",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
}


def http(deployment: Deployment) -> httpx2.AsyncClient:
    headers = {"Authorization": f"Bearer {deployment.alice}"}
    return httpx2.AsyncClient(base_url=f"{deployment.stack.url}/v1", headers=headers, timeout=30)


def message(role: str, content: object, **more: str) -> Wire:
    return {"type": "message", "role": role, "content": content, **more}


async def posted(api: httpx2.AsyncClient, path: str, **body: object) -> Wire:
    answer = await api.post(path, json={"model": MODEL, **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    whole: Wire = answer.json()
    return whole


async def completed(api: httpx2.AsyncClient, **body: object) -> Wire:
    whole = await posted(api, "/responses", **body)
    conformance.response(whole)
    assert (whole["status"], bool(whole["output"])) == ("completed", True)
    return whole


async def streamed(api: httpx2.AsyncClient, **body: object) -> list[Wire]:
    answer = await api.post("/responses", json={"model": MODEL, "stream": True, **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    *frames, end, rest = answer.text.split("\n\n")
    assert (end, rest) == ("data: [DONE]", "")
    events = []
    for frame in frames:
        parts = re.fullmatch(r"event: (\S+)\ndata: (.*)", frame)
        assert parts, frame
        events.append(json.loads(parts[2]))
        assert events[-1]["type"] == parts[1]
    return events


async def create(socket: ClientConnection, **body: object) -> list[Wire]:
    await socket.send(json.dumps({"type": "response.create", "model": MODEL, **body}))
    return await receive_all(socket)


async def continued(socket: ClientConnection, **body: object) -> Wire:
    whole = conformance.story(await create(socket, **body))
    assert whole["status"] == "completed"
    return whole


async def refused(socket: ClientConnection, **body: object) -> str:
    (only,) = await create(socket, **body)
    return conformance.refusal(only).code


def text_of(whole: Wire) -> str:
    return str(whole["output"][-1]["content"][0]["text"])
