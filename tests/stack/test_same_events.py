"""One answer, followed over every transport and at another replica: the same events, byte for byte."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect

from tests.stack.conftest import Deployment
from tests.stack.strict_client import MODEL

TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
# Reasoning, text and a call, with characters of one to four bytes and characters that JSON escapes.
ANSWER = (
    '[[pace=0.004 call=get_weather args={"place":"青岛 \\"港\\""} reasoning='
    "海边, 'let me see' <b>\\ text=" + '灯塔 🗼 "lit" \\n & '.ljust(12) * 12 + "]]"
)
ENDLESS = "[[tokens=3000 pace=0.005]]"
ENDINGS = re.compile(r'\{"type":"response\.(completed|incomplete|failed)"')


class Creator:
    """The socket at the first gateway that requested the answer."""

    def __init__(self, deployment: Deployment) -> None:
        self._house = deployment
        self.frames: list[str] = []
        self._grown = asyncio.Event()

    async def ask(self, text: str) -> list[str]:
        async with self._house.socket(self._house.alice, gateway=1) as socket:
            create = {"type": "response.create", "model": MODEL, "input": text, "tools": [TOOL]}
            await socket.send(json.dumps(create))
            async for frame in socket:
                self.frames.append(str(frame))
                self._grown.set()
                self._grown = asyncio.Event()
                if ENDINGS.match(self.frames[-1]):
                    break
        return self.frames

    async def at(self, number: int) -> str:
        """The response's id, once the event with that number has arrived."""
        while len(self.frames) <= number:
            await self._grown.wait()
        return str(json.loads(self.frames[0])["response"]["id"])


class Followers:
    """`gateway` None means through nginx."""

    def __init__(self, deployment: Deployment) -> None:
        self._house = deployment

    async def streamed(self, response_id: str, gateway: int | None, after: int | None = None) -> list[str]:
        query = {"stream": "true"} if after is None else {"stream": "true", "starting_after": str(after)}
        async with self.http(gateway) as api:
            answer = await api.get(f"/responses/{response_id}", params=query)
        assert answer.status_code == 200, answer.text
        *events, end, rest = answer.text.split("\n\n")
        assert (end, rest) == ("data: [DONE]", "")
        return [event.split("\ndata: ", 1)[1] for event in events]

    async def resumed(self, response_id: str, gateway: int | None, after: int = -1) -> list[str]:
        """A socket's events up to the ending or a refusal."""
        frames: list[str] = []
        query = f"resume={response_id}" if after == -1 else f"resume={response_id}&starting_after={after}"
        headers = {"Authorization": f"Bearer {self._house.alice}"}
        async with connect(
            f"ws://127.0.0.1:{self._port(gateway)}/v1/responses?{query}", additional_headers=headers
        ) as socket:
            async for frame in socket:
                frames.append(str(frame))
                if ENDINGS.match(frames[-1]) or "sequence_number" not in frames[-1]:
                    break
        return frames

    @asynccontextmanager
    async def http(self, gateway: int | None) -> AsyncIterator[httpx2.AsyncClient]:
        headers = {"Authorization": f"Bearer {self._house.alice}"}
        url = f"http://127.0.0.1:{self._port(gateway)}/v1"
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            yield client

    def _port(self, gateway: int | None) -> int:
        port = self._house.stack.port if gateway is None else self._house.stack.gateway(gateway).command.port
        assert port is not None
        return port


@pytest.fixture
def creator(deployment: Deployment) -> Creator:
    return Creator(deployment)


@pytest.fixture
def followers(deployment: Deployment) -> Followers:
    return Followers(deployment)


async def from_the_start(creator: Creator, followers: Followers) -> list[list[str]]:
    """The events of six followers that started at the first event."""
    response_id = await creator.at(0)
    places = (1, 2, None)
    streamed = (followers.streamed(response_id, place) for place in places)
    resumed = (followers.resumed(response_id, place) for place in places)
    return await asyncio.gather(*streamed, *resumed)


async def from_the_middle(creator: Creator, followers: Followers, after: int) -> list[list[str]]:
    """The events of followers that started later and resumed after `after`."""
    response_id = await creator.at(after + 5)
    streamed = (followers.streamed(response_id, place, after) for place in (2, None))
    return await asyncio.gather(*streamed, followers.resumed(response_id, 2, after))


async def test_all_followers_of_a_running_answer_receive_the_same_events(
    creator: Creator, followers: Followers
) -> None:
    frames, all_of_it, behind_seven = await asyncio.gather(
        creator.ask(ANSWER), from_the_start(creator, followers), from_the_middle(creator, followers, 7)
    )
    events: list[Any] = [json.loads(frame) for frame in frames]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message", "function_call"]
    assert all_of_it == [frames] * 6
    assert behind_seven == [frames[8:]] * 3


async def test_all_followers_receive_the_same_ending_when_another_replica_stops_it(
    creator: Creator, followers: Followers
) -> None:
    async def stop() -> Any:
        response_id = await creator.at(20)
        async with followers.http(2) as api:
            return (await api.post(f"/responses/{response_id}/cancel")).json()

    frames, all_of_it, behind_seven, stopped = await asyncio.gather(
        creator.ask(ENDLESS), from_the_start(creator, followers), from_the_middle(creator, followers, 7), stop()
    )
    last = json.loads(frames[-1])
    assert (last["type"], last["response"]) == ("response.incomplete", stopped)
    assert all_of_it == [frames] * 6
    assert behind_seven == [frames[8:]] * 3


async def test_all_followers_after_its_end_receive_the_same_events(creator: Creator, followers: Followers) -> None:
    frames = await creator.ask(ANSWER)
    last = len(frames) - 1
    assert await from_the_start(creator, followers) == [frames] * 6
    assert await from_the_middle(creator, followers, 7) == [frames[8:]] * 3
    assert await followers.resumed(await creator.at(0), 2, last - 1) == frames[-1:]
    assert await followers.streamed(await creator.at(0), 2, last) == []


async def test_an_answer_whose_events_have_expired_can_still_be_retrieved(
    creator: Creator, followers: Followers, deployment: Deployment
) -> None:
    frames = await creator.ask("[[text=kept]]")
    response_id = await creator.at(0)
    async with Redis.from_url(deployment.stack.redis_admin_url) as redis:
        logs = [key async for key in redis.scan_iter(f"*:response:{response_id}:log*")]
        assert await redis.delete(*logs) > 0
    async with followers.http(2) as api:
        whole = await api.get(f"/responses/{response_id}")
        refused = await api.get(f"/responses/{response_id}", params={"stream": "true"})
    assert whole.json() == json.loads(frames[-1])["response"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "events_expired")
    (refusal,) = await followers.resumed(response_id, 2)
    assert json.loads(refusal)["error"] == refused.json()["error"]
