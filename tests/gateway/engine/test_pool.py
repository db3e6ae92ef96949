"""Which engines of the `pool` take requests."""

import asyncio
import logging

import pytest

from gateway.engine.addresses import Addresses
from gateway.engine.balancer import EngineBalancer
from gateway.engine.health_checker import HealthChecker
from gateway.engine.pool import EnginePool
from gateway.errors import Unavailable
from gateway.inference import PromptMessage
from tests.gateway.builders import background_task
from tests.gateway.engine.engine_pool_fixture import PLAIN, FakeEngineServer, running_pool, stream, text_of


async def test_the_smallest_context_limit_applies_to_all_engines() -> None:
    limits = {"http://a/v1": 4096, "http://b/v1": 1024, "http://c/v1": 2048}
    servers = {url: FakeEngineServer(limit=limit) for url, limit in limits.items()}
    async with running_pool(list(servers), lambda url: servers[url].connect()) as engines:
        await engines.until_healthy(3)
        assert await engines.balancer.context_limit() == 1024
        assert (await engines.balancer.served_model()).max_model_len == 1024
        for affinity in ("conv_1", "conv_2", "conv_3"):
            tokenized = await engines.balancer.tokenize((PromptMessage("user", "hi"),), PLAIN, affinity=affinity)
            assert tokenized is not None
            assert tokenized.limit == 1024
        servers["http://b/v1"].is_down = True
        await engines.until_healthy(2)
        assert await engines.balancer.context_limit() == 2048


async def test_an_engine_with_another_model_is_not_used_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    servers = {
        "http://a/v1": FakeEngineServer(),
        "http://b/v1": FakeEngineServer("another"),
        "http://c/v1": FakeEngineServer(),
    }
    async with running_pool(list(servers), lambda url: servers[url].connect()) as engines:
        while not caplog.records:
            await asyncio.sleep(0.01)
        await engines.until_healthy(2)
        for number in range(20):
            await text_of(stream(engines.balancer, "hi", f"conv_{number}"))
        assert servers["http://b/v1"].chats == 0
        assert await engines.balancer.model() == "m"
        (error,) = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert vars(error).items() >= {"engine": "http://b/v1", "model": "another", "expected": "m"}.items()
        for url in ("http://a/v1", "http://c/v1"):
            servers[url].model = "another"
        await engines.until_healthy(3)
        assert await engines.balancer.model() == "another"


async def test_while_no_engine_is_healthy_all_are_tried_and_the_first_that_replies_is_used() -> None:
    servers = {"http://a/v1": FakeEngineServer(), "http://b/v1": FakeEngineServer()}
    async with running_pool(list(servers), lambda url: servers[url].connect()) as engines:
        for server in servers.values():
            server.is_down = True
        await engines.until_healthy(0)
        assert not engines.balancer.has_healthy
        with pytest.raises(Unavailable):
            await text_of(stream(engines.balancer, "hi"))
        servers["http://b/v1"].is_down = False
        assert await text_of(stream(engines.balancer, "hi")) == "ok"
        await engines.until_healthy(1)
        assert engines.balancer.has_healthy


async def test_when_the_last_healthy_engine_fails_an_ejected_one_is_tried() -> None:
    servers = {"http://a/v1": FakeEngineServer(), "http://b/v1": FakeEngineServer()}
    async with running_pool(list(servers), lambda url: servers[url].connect()) as engines:
        await engines.until_healthy(2)
        first, second = (servers[f"{url}/v1"] for url in engines.ranked("conv_1"))
        first.is_down = True
        await engines.until_healthy(1)
        first.is_down, second.is_down = False, True
        assert await text_of(stream(engines.balancer, "hi")) == "ok"
        assert (first.chats, second.chats) == (1, 0)


async def test_engines_are_added_and_removed_with_the_addresses_of_their_name() -> None:
    servers = {f"http://10.0.0.{number}:8000/v1": FakeEngineServer() for number in (1, 2, 3)}
    addresses = ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"]

    async def resolve(_: str) -> list[str]:
        return addresses

    pool = EnginePool(Addresses(["dns+http://vllm:8000/v1"], resolve), lambda url: servers[url].connect())
    balancer = EngineBalancer(pool)

    async def until_healthy(*numbers: int) -> None:
        expected = {f"http://10.0.0.{number}:8000/v1" for number in numbers}
        while {backend.address for backend in pool.healthy} != expected:
            await asyncio.sleep(0.01)

    async with background_task(HealthChecker(pool, interval_seconds=0.05).run()):
        await until_healthy(1, 2)
        answers = [stream(balancer, "hi", f"conv_{number}") for number in range(4)]
        for answer in answers:
            await anext(answer)  # each engine runs some
        addresses[:] = ["http://10.0.0.2:8000/v1", "http://10.0.0.3:8000/v1"]
        await until_healthy(2, 3)
        removed = servers["http://10.0.0.1:8000/v1"]
        # Its running answers end normally.
        assert [removed.is_closed, *[await text_of(answer) for answer in answers]] == [False] + [""] * 4
        await removed.until_closed()
    await pool.close()
    assert all(server.is_closed for server in servers.values())


async def test_the_only_engine_is_tried_again_after_every_failure() -> None:
    server = FakeEngineServer()
    async with running_pool(["http://a/v1"], server.connect) as engines:
        await engines.until_healthy(1)
        server.is_down = True
        for _ in range(2):
            with pytest.raises(Unavailable):
                await text_of(stream(engines.balancer, "hi"))
            assert not engines.balancer.has_healthy
        server.is_down = False
        assert await text_of(stream(engines.balancer, "hi")) == "ok"
