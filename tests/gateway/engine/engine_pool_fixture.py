"""Several engines behind one balancer, and an engine without a process."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import httpx2
import openai

from gateway.engine.addresses import Addresses
from gateway.engine.balancer import EngineBalancer
from gateway.engine.client import EngineClient
from gateway.engine.health_checker import HealthChecker
from gateway.engine.pool import EnginePool
from gateway.engine.ranking import rank
from gateway.inference import EngineCall, EngineEvent, OutputOptions, PromptMessage, TextDelta
from tests.gateway.builders import SAMPLING, background_task

PLAIN = OutputOptions()


@dataclass
class PoolUnderTest:
    """With its health checker running."""

    balancer: EngineBalancer
    pool: EnginePool
    urls: list[str]

    def ranked(self, affinity: str) -> list[str]:
        """The engines' URLs without /v1, first choice first."""
        return [url.removesuffix("/v1") for url in rank(affinity, self.urls)]

    async def until_healthy(self, count: int) -> None:
        while len(self.pool.healthy) != count:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running_pool(
    urls: Sequence[str], connect: Callable[[str], EngineClient], interval_seconds: float = 0.2
) -> AsyncIterator[PoolUnderTest]:
    pool = EnginePool(Addresses(urls), connect)
    async with background_task(HealthChecker(pool, interval_seconds=interval_seconds).run()):
        yield PoolUnderTest(EngineBalancer(pool, silence_seconds=0.3), pool, list(urls))
    await pool.close()


class FakeEngineServer:
    """Without a process. `is_down` refuses connections; `is_silent` accepts them but never replies to a chat."""

    def __init__(self, model: str = "m", limit: int = 4096) -> None:
        self.model, self.limit = model, limit
        self.is_down = self.is_silent = self.is_closed = False
        self.chats = self.probes = 0

    def connect(self, _: str = "") -> EngineClient:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._answer))
        client = openai.AsyncOpenAI(base_url="http://fake/v1", api_key="EMPTY", max_retries=0, http_client=http)
        server = self

        class Closing(EngineClient):
            async def close(self) -> None:
                server.is_closed = True
                await super().close()

        return Closing(client, dialect="vllm", server_key=b"k" * 32)

    async def until_closed(self) -> None:
        while not self.is_closed:
            await asyncio.sleep(0.01)

    async def until_chat(self) -> None:
        while not self.chats:
            await asyncio.sleep(0.01)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.is_down:
            raise httpx2.ConnectError("refused")
        if request.url.path == "/v1/models":
            self.probes += 1
            return httpx2.Response(200, json={"data": [{"id": self.model, "max_model_len": self.limit}]})
        if request.url.path == "/tokenize":
            return httpx2.Response(200, json={"count": 3, "max_model_len": self.limit, "tokens": [1, 2, 3]})
        self.chats += 1
        if self.is_silent:
            await asyncio.Event().wait()
        body = b'data: {"choices": [{"delta": {"content": "ok"}, "token_ids": [7]}]}\n\ndata: [DONE]\n\n'
        return httpx2.Response(200, content=body)


def stream(balancer: EngineBalancer, text: str, affinity: str = "conv_1") -> AsyncGenerator[EngineEvent]:
    return balancer.stream(call(text, affinity))


def call(text: str, affinity: str = "conv_1", token_ids: tuple[int, ...] = ()) -> EngineCall:
    prompt = (PromptMessage("user", text),)
    return EngineCall(prompt, SAMPLING, PLAIN, "user_1", "resp_1-1", affinity, token_ids)


async def text_of(events: AsyncGenerator[EngineEvent]) -> str:
    async with aclosing(events):
        return "".join([event.text async for event in events if isinstance(event, TextDelta)])
