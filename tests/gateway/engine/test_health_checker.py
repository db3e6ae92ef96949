"""The `health_checker`, and what a `backend` that it finds dead does to streams that have not begun."""

import asyncio

import pytest

from gateway.errors import Unavailable
from tests.gateway.engine.engine_pool_fixture import FakeEngineServer, running_pool, stream, text_of


async def test_a_stream_leaves_an_engine_that_freezes_before_the_first_event() -> None:
    servers = {"http://a/v1": FakeEngineServer(), "http://b/v1": FakeEngineServer()}
    async with running_pool(list(servers), lambda url: servers[url].connect()) as engines:
        await engines.until_healthy(2)
        first, second = (servers[f"{url}/v1"] for url in engines.ranked("conv_1"))
        first.is_silent = True
        answer = asyncio.create_task(text_of(stream(engines.balancer, "hi")))
        await first.until_chat()
        first.is_down = True
        assert await answer == "ok"
        assert second.chats == 1


async def test_a_stream_fails_when_the_only_engine_freezes_before_the_first_event() -> None:
    server = FakeEngineServer()
    async with running_pool(["http://a/v1"], server.connect) as engines:
        await engines.until_healthy(1)
        server.is_silent = True
        answer = asyncio.create_task(text_of(stream(engines.balancer, "hi")))
        await server.until_chat()
        server.is_down = True
        with pytest.raises(Unavailable):
            await answer


async def test_the_only_engine_is_not_probed_while_it_is_idle() -> None:
    server = FakeEngineServer()
    async with running_pool(["http://a/v1"], server.connect, interval_seconds=0.02) as engines:
        await engines.until_healthy(1)
        before = server.probes
        await asyncio.sleep(0.2)
        assert server.probes == before
        server.is_silent = True
        answer = asyncio.create_task(text_of(stream(engines.balancer, "hi")))
        while server.probes == before:
            await asyncio.sleep(0.01)
        answer.cancel()
        await asyncio.wait([answer])
