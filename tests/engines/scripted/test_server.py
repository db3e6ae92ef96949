"""The scripted engine over TCP: streams, connections, concurrency limits."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx2

from engines.scripted.__main__ import read_settings
from engines.scripted.answers import filler
from engines.scripted.server import listening
from engines.scripted.settings import EngineSettings
from engines.scripted.tokenizer import decode
from tests.contract.engine_shapes import events_in
from tests.engines.scripted.conftest import CHAT, chat_request, text_in

NEVER = "[[first=3600]]"


@asynccontextmanager
async def open_tcp(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def streamed(url: str, content: str) -> AsyncIterator[asyncio.StreamReader]:
    """A streamed answer as raw bytes; leaving the context closes the connection."""
    body = json.dumps(chat_request(content, stream=True)).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    async with open_tcp(url) as (reader, writer):
        writer.write(head.encode() + body)
        yield reader


async def gauge(client: httpx2.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"vllm:{name}{{")).rpartition(" ")[2])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0)


async def test_a_stream_delivers_its_whole_text(client: httpx2.AsyncClient) -> None:
    answer = await client.post(CHAT, json=chat_request("[[text=你好, world]]", stream=True))
    events = events_in(answer.text)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert text_in(events) == "你好, world"
    assert (events[-2]["choices"][0]["finish_reason"], events[-1]) == ("stop", "[DONE]")


async def test_a_connection_serves_pipelined_requests_in_order(url: str) -> None:
    async with open_tcp(url) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\n\r\n" + b"GET /version HTTP/1.1\r\nconnection: close\r\n\r\n")
        first, second = (await reader.read()).split(b"HTTP/1.1 200 OK")[1:]
    assert b"content-length: 0" in first
    assert second.endswith(b'{"version":"0.32.0"}')


async def test_bytes_that_are_not_http_are_refused(url: str) -> None:
    async with open_tcp(url) as (reader, writer):
        writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")


async def test_a_closed_stream_is_cancelled_at_once(url: str, client: httpx2.AsyncClient) -> None:
    async with streamed(url, "[[tokens=500 pace=3600]]") as reader:
        await reader.readuntil(b"finish_reason")
        assert await gauge(client, "num_requests_running") == 1

    async def idle() -> bool:
        return await gauge(client, "num_requests_running") == 0

    await until(idle)
    assert await gauge(client, "generation_tokens_total") == 1
    assert 'finished_reason="abort",model_name="scripted"} 0.0' in (await client.get("/metrics")).text


async def test_requests_beyond_the_limit_wait_for_a_place() -> None:
    settings = EngineSettings(port=0, pace_seconds=0, first_seconds=0, max_num_seqs=1)
    async with listening(settings) as url, httpx2.AsyncClient(base_url=url) as client:

        async def waiting() -> bool:
            return await gauge(client, "num_requests_waiting") == 1

        async with AsyncExitStack() as second:
            async with streamed(url, NEVER):
                reader = await second.enter_async_context(streamed(url, "[[text=my turn]]"))
                await until(waiting)
            assert b"[DONE]" in await reader.readuntil(b"[DONE]")


async def test_a_full_queue_answers_503() -> None:
    settings = EngineSettings(port=0, max_num_queued_reqs=1)
    async with listening(settings) as url, httpx2.AsyncClient(base_url=url) as client:
        async with streamed(url, NEVER) as reader:
            await reader.readuntil(b"\r\n\r\n")
            refused = await client.post(CHAT, json=chat_request("hello"))
        assert (refused.status_code, refused.json()["error"]["type"]) == (503, "Service Unavailable")


async def test_a_slow_reader_gets_every_token_once_in_fewer_events() -> None:
    # More than the socket buffers hold, so that the engine must wait for the reader.
    settings = EngineSettings(port=0, pace_seconds=0, first_seconds=0, max_model_len=100_000)
    async with listening(settings) as url, httpx2.AsyncClient(base_url=url) as client:

        async def finished() -> bool:
            return bool((await client.get("/requests")).json()["data"][0]["state"] == "finished")

        async with streamed(url, "[[tokens=60000]]") as reader:
            await reader.readuntil(b"\r\n\r\n")
            await until(finished)
            raw = b""
            while not raw.endswith(b"\r\n0\r\n\r\n"):
                raw += await reader.read(2**20)
    events = [json.loads(line[6:]) for line in raw.split(b"\r\n") if line.startswith(b"data: {")]
    assert len(events) < 60_000
    assert text_in(events) == decode(filler(59_999))


async def test_a_held_request_is_not_yet_in_the_engine(url: str, client: httpx2.AsyncClient) -> None:
    async def states() -> list[str | None]:
        return [entry["state"] for entry in (await client.get("/requests")).json()["data"]]

    async def received() -> bool:
        return await states() == [None]

    async with streamed(url, "[[hold=3600]]"):
        await until(received)
        assert await gauge(client, "num_requests_running") == 0
    assert (await client.post(CHAT, json=chat_request("[[hold=0.01]]"))).status_code == 200
    assert await states() == [None, "finished"]


def test_options_are_named_as_in_vllm() -> None:
    settings = read_settings(["--max-model-len", "99", "--max-num-queued-reqs", "3", "--stream-interval", "5"])
    assert (settings.max_model_len, settings.max_num_queued_reqs, settings.stream_interval) == (99, 3, 5)


async def test_the_program_says_where_it_listens_and_leaves_on_sigterm() -> None:
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engines.scripted", "--port", "0"), stdout=asyncio.subprocess.PIPE
    )
    assert program.stdout is not None
    url = (await program.stdout.readline()).decode().split()[-1]
    async with streamed(url, NEVER) as reader:
        await reader.readuntil(b"\r\n\r\n")
        program.send_signal(signal.SIGTERM)
        assert await program.wait() == 0
