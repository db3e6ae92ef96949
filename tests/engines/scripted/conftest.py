"""A scripted engine in the test's event loop, and request bodies for it."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from engines.scripted.server import listening
from engines.scripted.settings import EngineSettings

CHAT = "/v1/chat/completions"


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with listening(EngineSettings(port=0, pace_seconds=0, first_seconds=0)) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=url) as client:
        yield client


def chat_request(content: str, **fields: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **fields}


def text_in(events: list[Any]) -> str:
    deltas = [choice["delta"] for event in events if event != "[DONE]" for choice in event["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)
