"""`store: false`: nothing of such a turn ever reaches Redis, whichever way it is asked for and however it ends."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment, receive_all
from tests.stack.strict_client import MODEL, completed, continued, http, posted, streamed

CANARY = "canary-5e0d"
ASKED: Wire = {"input": f"[[text={CANARY} said]] {CANARY} asked", "instructions": f"{CANARY} told", "store": False}


class Watched:
    """What Redis was told meanwhile, a command each, and the keys it has now and had not before."""

    commands: tuple[str, ...] = ()
    new_keys: frozenset[str] = frozenset()


@asynccontextmanager
async def watching(deployment: Deployment) -> AsyncIterator[Watched]:
    watched = Watched()
    async with (
        Redis.from_url(deployment.stack.redis_admin_url, decode_responses=True) as redis,
        redis.monitor() as monitor,
    ):
        before = {key async for key in redis.scan_iter()}
        yield watched
        watched.new_keys = frozenset({key async for key in redis.scan_iter()} - before)
        await redis.echo("that was all")
        commands: list[str] = []
        while not commands or not commands[-1].startswith("ECHO that was all"):
            commands.append(str((await monitor.next_command())["command"]))
        watched.commands = tuple(commands)


@asynccontextmanager
async def unseen(deployment: Deployment) -> AsyncIterator[list[str]]:
    """Of the answers whose ids are added to the list."""
    ids: list[str] = []
    async with watching(deployment) as watched:
        yield ids
    assert ids
    assert [one for one in watched.commands for word in (CANARY, *ids) if word in one] == []
    # What it cost is accounted, in numbers alone.
    assert [key for key in watched.new_keys if "{user_" in key and ":usage:" not in key] == []


async def test_the_watch_sees_what_is_stored(deployment: Deployment) -> None:
    async with watching(deployment) as watched, http(deployment) as api:
        stored = await posted(api, "/responses", input=CANARY)
    assert any(CANARY in one for one in watched.commands)
    assert any(stored["id"] in one for one in watched.new_keys)


async def test_a_whole_answer(deployment: Deployment) -> None:
    async with http(deployment) as api:
        async with unseen(deployment) as ids:
            whole = await completed(api, **ASKED)
            ids += [whole["id"], whole["output"][0]["id"]]
        assert (await api.get(f"/responses/{whole['id']}")).status_code == 404


async def test_a_streamed_answer(deployment: Deployment) -> None:
    async with http(deployment) as api:
        async with unseen(deployment) as ids:
            events = await streamed(api, **ASKED)
            ids.append(events[0]["response"]["id"])
        assert events[-1]["type"] == "response.completed"
        assert (await api.get(f"/responses/{ids[0]}", params={"stream": "true"})).status_code == 404


async def test_an_answer_and_its_continuation_on_a_socket(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket, unseen(deployment) as ids:
        first = await continued(socket, **ASKED)
        second = await continued(socket, **ASKED, previous_response_id=first["id"])
        ids += [first["id"], second["id"]]


async def test_an_answer_that_goes_on_from_a_stored_one(deployment: Deployment) -> None:
    async with http(deployment) as api:
        stored = await completed(api, input="hello")
        async with unseen(deployment) as ids:
            ids.append((await completed(api, **ASKED, previous_response_id=stored["id"]))["id"])
    assert "hello" in json.dumps(deployment.prompts()[-1])


async def test_an_answer_that_fails(deployment: Deployment) -> None:
    async with http(deployment) as api, unseen(deployment) as ids:
        events = await streamed(api, **{**ASKED, "input": f"[[tokens=60 error=after:5]] {CANARY}"})
        ids.append(events[0]["response"]["id"])
    assert events[-1]["type"] == "response.failed"


async def test_an_answer_that_is_stopped_on_its_socket(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket, unseen(deployment) as ids:
        create = {"type": "response.create", "model": MODEL, **ASKED, "input": f"[[tokens=3000 pace=0.01]] {CANARY}"}
        await socket.send(json.dumps(create))
        ids.append(json.loads(await socket.recv())["response"]["id"])
        await socket.send(json.dumps({"type": "response.cancel", "response_id": ids[0]}))
        assert (await receive_all(socket))[-1]["type"] == "response.incomplete"
