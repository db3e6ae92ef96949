"""Several engines behind one roster, and an engine without a process."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx2
import openai

from gateway.engine.addresses import Addresses
from gateway.engine.client import EngineClient
from gateway.engine.engines import EngineBalancer
from gateway.engine.ranking import ranked
from gateway.engine.roster import EnginePool
from gateway.inference import EngineEvent, OutputOptions, PromptMessage, TextDelta
from tests.gateway.builders import SAMPLING, background_task

PLAIN = OutputOptions()


@dataclass
class House:
    """Engines that are watched, and what they say about it."""

    engines: EngineBalancer
    roster: EnginePool
    urls: list[str]

    def ranked(self, affinity: str) -> list[str]:
        return [url.removesuffix("/v1") for url in ranked(affinity, self.urls)]

    async def until_serving(self, count: int) -> None:
        while len(self.roster.serving) != count:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watched(
    urls: Sequence[str], connect: Callable[[str], EngineClient], look_seconds: float = 0.2
) -> AsyncIterator[House]:
    roster = EnginePool(Addresses(urls), connect, look_seconds=look_seconds)
    async with background_task(roster.watch()):
        yield House(EngineBalancer(roster, silence_seconds=0.3), roster, list(urls))
    await roster.close()


class Played:
    """An engine without a process. `dead` refuses connections; `mute` takes them, and says nothing to a chat."""

    def __init__(self, model: str = "m", limit: int = 4096) -> None:
        self.model, self.limit = model, limit
        self.dead = self.mute = self.closed = False
        self.asked = self.looked = 0

    def connect(self, _: str = "") -> EngineClient:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        client = openai.AsyncOpenAI(base_url="http://played/v1", api_key="EMPTY", max_retries=0, http_client=http)
        played = self

        class Closing(EngineClient):
            async def close(self) -> None:
                played.closed = True
                await super().close()

        return Closing(client, dialect="vllm", server_key=b"k" * 32)

    async def until_closed(self) -> None:
        while not self.closed:
            await asyncio.sleep(0.01)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.dead:
            raise httpx2.ConnectError("refused")
        if request.url.path == "/v1/models":
            self.looked += 1
            return httpx2.Response(200, json={"data": [{"id": self.model, "max_model_len": self.limit}]})
        if request.url.path == "/tokenize":
            return httpx2.Response(200, json={"count": 3, "max_model_len": self.limit, "tokens": [1, 2, 3]})
        self.asked += 1
        if self.mute:
            await asyncio.Event().wait()
        body = b'data: {"choices": [{"delta": {"content": "ok"}, "token_ids": [7]}]}\n\ndata: [DONE]\n\n'
        return httpx2.Response(200, content=body)


def stream(engines: EngineBalancer, text: str, affinity: str = "conv_1") -> AsyncGenerator[EngineEvent]:
    prompts = (PromptMessage("user", text),)
    return engines.stream(prompts, SAMPLING, PLAIN, user_id="user_1", request_id="resp_1-1", affinity=affinity)


async def whole(stream: AsyncGenerator[EngineEvent]) -> str:
    async with aclosing(stream):
        return "".join([event.text async for event in stream if isinstance(event, TextDelta)])
