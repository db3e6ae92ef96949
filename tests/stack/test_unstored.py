"""`store: false`: nothing of such a turn reaches Redis, whatever its transport and its ending."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment, receive_all
from tests.stack.strict_client import MODEL, completed, continued, http, posted, streamed

CANARY = "canary-5e0d"
ASKED: Wire = {"input": f"[[text={CANARY} said]] {CANARY} asked", "instructions": f"{CANARY} told", "store": False}


class Monitored:
    """The commands that Redis received meanwhile, and the keys that are new."""

    commands: tuple[str, ...] = ()
    new_keys: frozenset[str] = frozenset()


@asynccontextmanager
async def monitored(deployment: Deployment) -> AsyncIterator[Monitored]:
    seen = Monitored()
    async with (
        Redis.from_url(deployment.stack.redis_admin_url, decode_responses=True) as redis,
        redis.monitor() as monitor,
    ):
        before = {key async for key in redis.scan_iter()}
        yield seen
        seen.new_keys = frozenset({key async for key in redis.scan_iter()} - before)
        await redis.echo("that was all")
        commands: list[str] = []
        while not commands or not commands[-1].startswith("ECHO that was all"):
            commands.append(str((await monitor.next_command())["command"]))
        seen.commands = tuple(commands)


@asynccontextmanager
async def assert_unstored(deployment: Deployment) -> AsyncIterator[list[str]]:
    """Checks the answers whose ids are added to the list."""
    ids: list[str] = []
    async with monitored(deployment) as seen:
        yield ids
    assert ids
    assert [one for one in seen.commands for word in (CANARY, *ids) if word in one] == []
    # Its usage is accounted, as numbers only.
    assert [key for key in seen.new_keys if "{user_" in key and ":usage:" not in key] == []


async def test_the_monitor_sees_a_stored_answer(deployment: Deployment) -> None:
    async with monitored(deployment) as seen, http(deployment) as api:
        stored = await posted(api, "/responses", input=CANARY)
    assert any(CANARY in one for one in seen.commands)
    assert any(stored["id"] in one for one in seen.new_keys)


async def test_a_whole_answer(deployment: Deployment) -> None:
    async with http(deployment) as api:
        async with assert_unstored(deployment) as ids:
            whole = await completed(api, **ASKED)
            ids += [whole["id"], whole["output"][0]["id"]]
        assert (await api.get(f"/responses/{whole['id']}")).status_code == 404


async def test_a_streamed_answer(deployment: Deployment) -> None:
    async with http(deployment) as api:
        async with assert_unstored(deployment) as ids:
            events = await streamed(api, **ASKED)
            ids.append(events[0]["response"]["id"])
        assert events[-1]["type"] == "response.completed"
        assert (await api.get(f"/responses/{ids[0]}", params={"stream": "true"})).status_code == 404


async def test_an_answer_and_its_continuation_on_a_socket(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket, assert_unstored(deployment) as ids:
        first = await continued(socket, **ASKED)
        second = await continued(socket, **ASKED, previous_response_id=first["id"])
        ids += [first["id"], second["id"]]


async def test_an_answer_that_continues_a_stored_one(deployment: Deployment) -> None:
    async with http(deployment) as api:
        stored = await completed(api, input="hello")
        async with assert_unstored(deployment) as ids:
            ids.append((await completed(api, **ASKED, previous_response_id=stored["id"]))["id"])
    assert "hello" in json.dumps(deployment.prompts()[-1])


async def test_an_answer_that_fails(deployment: Deployment) -> None:
    async with http(deployment) as api, assert_unstored(deployment) as ids:
        events = await streamed(api, **{**ASKED, "input": f"[[tokens=60 error=after:5]] {CANARY}"})
        ids.append(events[0]["response"]["id"])
    assert events[-1]["type"] == "response.failed"


async def test_an_answer_that_is_stopped_on_its_socket(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket, assert_unstored(deployment) as ids:
        create = {"type": "response.create", "model": MODEL, **ASKED, "input": f"[[tokens=3000 pace=0.01]] {CANARY}"}
        await socket.send(json.dumps(create))
        ids.append(json.loads(await socket.recv())["response"]["id"])
        await socket.send(json.dumps({"type": "response.cancel", "response_id": ids[0]}))
        assert (await receive_all(socket))[-1]["type"] == "response.incomplete"
