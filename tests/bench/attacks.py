"""What a hostile user does: `python -m tests.bench.attacks URL KEY ATTACK AT_ONCE SECONDS`.

A process of its own, so that its work delays nobody who measures. It prepares what the attack needs, prints `ready`,
waits for a line on standard input, attacks until the time is over, and prints how often each status was returned.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp

_ITEM_BYTES = 63_000
_ITEMS = 390
_CHAIN_LENGTH = 12
_MAX_BODY_BYTES = 960_000
_MAX_SILENT_FOLLOWERS = 400
# Of one attack that answers at once, for example with 429: a client that waits a little between two requests.
_PAUSE_SECONDS = 0.002
_POLL_SECONDS = 0.05
# Then the connection is closed; the gateway has sent more by then.
_REPLAYED_BYTES = 100_000
_NICENESS = 10

State = str | bytes


class Attacker:
    """One user's requests, counted by the status of the response."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.statuses: Counter[str] = Counter()
        # Open until the process ends.
        self.unread: list[aiohttp.ClientResponse] = []

    async def post(self, path: str, body: object) -> bytes:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.session.post(path, data=data, headers={"Content-Type": "application/json"}) as response:
            self.statuses[str(response.status)] += 1
            return await response.read()

    async def get(self, path: str, **query: str) -> bytes:
        async with self.session.get(path, params=query) as response:
            self.statuses[str(response.status)] += 1
            return await response.read()

    async def create(self, path: str, body: object) -> str:
        """Returns the id of the new object; raises RuntimeError when it is refused."""
        found = json.loads(await self.post(path, body))
        if "id" not in found and "data" not in found:
            raise RuntimeError(found)
        return str(found.get("id", ""))


@dataclass(frozen=True, slots=True)
class Attack:
    strike: Callable[[Attacker, State], Awaitable[None]]
    prepare: Callable[[Attacker], Awaitable[State]]


async def _conversation_of_24_megabytes(attacker: Attacker) -> str:
    conversation = await attacker.create("/v1/conversations", {})
    text = ("ab cd ef gh " * (_ITEM_BYTES // 12))[:_ITEM_BYTES]
    for number in range(_ITEMS):
        item = {"role": "user" if number % 2 == 0 else "assistant", "content": text}
        await attacker.create(f"/v1/conversations/{conversation}/items", {"items": [item]})
    return conversation


async def _chain(attacker: Attacker) -> str:
    """The id of the last response but one."""
    ids: list[str] = []
    for _ in range(_CHAIN_LENGTH):
        # In the background: the input is stored although it does not fit into the model's context.
        body = {"input": "x" * 900_000, "background": True} | ({"previous_response_id": ids[-1]} if ids else {})
        ids.append(await attacker.create("/v1/responses", body))
        await _wait_ended(attacker, ids[-1])
    return ids[-2]


async def _long_answer(attacker: Attacker) -> str:
    asked = {"input": "[[tokens=20000 pace=0.001]]", "background": True, "max_output_tokens": 20_000}
    return await attacker.create("/v1/responses", asked)


async def _ended_long_answer(attacker: Attacker) -> str:
    response_id = await _long_answer(attacker)
    await _wait_ended(attacker, response_id)
    return response_id


async def _wait_ended(attacker: Attacker, response_id: str) -> None:
    while json.loads(await attacker.get(f"/v1/responses/{response_id}"))["status"] == "in_progress":
        await asyncio.sleep(_POLL_SECONDS)


def _body(content: bytes) -> Callable[[Attacker], Awaitable[State]]:
    async def prepare(_: Attacker) -> bytes:
        return content

    return prepare


async def _respond(attacker: Attacker, body: State) -> None:
    await attacker.post("/v1/responses", body)


async def _search(attacker: Attacker, _: State) -> None:
    words = " ".join(first + second for first in "qwertyuio" for second in "zxcvbn")
    await attacker.get("/v1/conversations", query=words)


async def _continue_conversation(attacker: Attacker, conversation: State) -> None:
    body = {"conversation": conversation, "input": "[[tokens=1]]", "truncation": "auto"}
    await attacker.post("/v1/responses", body)


async def _count_tokens(attacker: Attacker, conversation: State) -> None:
    await attacker.post("/v1/responses/input_tokens", {"conversation": conversation, "input": "how many?"})


async def _create_conversation(attacker: Attacker, _: State) -> None:
    await attacker.post("/v1/conversations", {"generation": {"instructions": "x" * 60_000}})


async def _branch(attacker: Attacker, response_id: State) -> None:
    body = {"previous_response_id": response_id, "input": "[[tokens=1]]", "truncation": "auto", "background": True}
    await attacker.post("/v1/responses", body)


async def _run_in_background(attacker: Attacker, _: State) -> None:
    await attacker.post("/v1/responses", {"input": "[[tokens=600 pace=0.05]]", "background": True})


async def _follow_without_reading(attacker: Attacker, response_id: State) -> None:
    if attacker.statuses["silent"] >= _MAX_SILENT_FOLLOWERS:
        await asyncio.sleep(0.1)
        return
    attacker.statuses["silent"] += 1
    response = await attacker.session.get(f"/v1/responses/{response_id!s}", params={"stream": "true"})
    attacker.statuses[str(response.status)] += 1
    attacker.unread.append(response)


async def _replay(attacker: Attacker, response_id: State) -> None:
    async with attacker.session.get(f"/v1/responses/{response_id!s}", params={"stream": "true"}) as response:
        attacker.statuses[str(response.status)] += 1
        await response.content.readexactly(_REPLAYED_BYTES)


async def _send_bad_frames(attacker: Attacker, _: State) -> None:
    async with attacker.session.ws_connect("/v1/responses") as socket:
        for frame in _BAD_FRAMES:
            await socket.send_str(frame)
            if (await socket.receive()).type is not aiohttp.WSMsgType.TEXT:
                break
        attacker.statuses[f"closed {socket.close_code}"] += 1


async def _nothing(_: Attacker) -> str:
    return ""


_BRACKETS = b'{"input":[' + b",".join([b"[" * 60 + b"]" * 60] * 7_900) + b"]}"
_OBJECTS = b'{"input":[' + b",".join([b"{}"] * 320_000) + b"]}"
_CONTROL_TOKENS = b'{"store":false,"truncation":"auto","input":"' + b"<" * _MAX_BODY_BYTES + b'"}'
_BAD_FRAMES = (
    "[" * 60_000,
    '{"type":"response.create","input":[' + "{}," * 20_000 + "{}]}",
    "\0" * 60_000,
    '{"type":"response.create","input":"' + "\\u0000" * 10_000 + '"',
)
_MANY_ITEMS = (
    b'{"background":true,"truncation":"auto","input":['
    + b",".join([b'{"role":"user","content":"xy"}'] * 19_000)
    + b"]}"
)

ATTACKS = {
    "brackets": Attack(_respond, _body(_BRACKETS)),
    "empty objects": Attack(_respond, _body(_OBJECTS)),
    "control tokens": Attack(_respond, _body(_CONTROL_TOKENS)),
    "bad frames": Attack(_send_bad_frames, _nothing),
    "search": Attack(_search, _conversation_of_24_megabytes),
    "long conversation": Attack(_continue_conversation, _conversation_of_24_megabytes),
    "count tokens": Attack(_count_tokens, _conversation_of_24_megabytes),
    "large instructions": Attack(_create_conversation, _nothing),
    "branches": Attack(_branch, _chain),
    "many items": Attack(_respond, _body(_MANY_ITEMS)),
    "background answers": Attack(_run_in_background, _nothing),
    "silent followers": Attack(_follow_without_reading, _long_answer),
    "replays": Attack(_replay, _ended_long_answer),
}


async def _attack(attack: Attack, attacker: Attacker, at_once: int, seconds: float) -> None:
    state = await attack.prepare(attacker)
    attacker.statuses.clear()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    until = time.monotonic() + seconds

    async def strike_again() -> None:
        while time.monotonic() < until:
            try:
                await attack.strike(attacker, state)
            except (aiohttp.ClientError, TimeoutError) as exc:
                attacker.statuses[type(exc).__name__] += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    await asyncio.gather(*(strike_again() for _ in range(at_once)))


async def _main(url: str, key: str, name: str, at_once: int, seconds: float) -> None:
    timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout, connector=connector) as session:
        attacker = Attacker(session)
        await _attack(ATTACKS[name], attacker, at_once, seconds)
        print(json.dumps({_label(status): count for status, count in attacker.statuses.items()}), flush=True)
        # Without waiting for the connections that nobody reads.
        os._exit(0)


def _label(status: str) -> str:
    return f"{status} {HTTPStatus(int(status)).phrase}" if status in {str(one.value) for one in HTTPStatus} else status


if __name__ == "__main__":
    os.nice(_NICENESS)
    asyncio.run(_main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
