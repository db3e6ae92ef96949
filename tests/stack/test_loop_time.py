"""No request of a user holds the event loop of a gateway: each step takes less than 50 ms of CPU time."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from dev.process import Command
from dev.stack import Plan, Stack
from tests.stack.conftest import Deployment, create_users
from tests.stack.measured_gateway import REPORT_VARIABLE
from tests.stack.plain_client import api

MAX_STEP_SECONDS = 0.05
BODY_BYTES = 1_000_000
FRAME_BYTES = 64_000
MODEL = "parley-demo"

JSON_HEADERS = {"Content-Type": "application/json"}


class MeasuredStack(Stack):
    """Its gateway reports long steps of its loop."""

    @property
    def report(self) -> Path:
        return self.plan.directory / "steps"

    def _gateway(self, number: int, port: int) -> Command:
        command = super()._gateway(number, port)
        environment = {**command.environment, REPORT_VARIABLE: str(self.report)}
        return replace(
            command, arguments=[sys.executable, "-m", "tests.stack.measured_gateway"], environment=environment
        )


@dataclass
class Measured:
    deployment: Deployment
    report: Path
    read: int = 0

    def long_steps(self) -> list[dict[str, Any]]:
        """Since the last call."""
        text = self.report.read_text()
        new, self.read = text[self.read :], len(text)
        return [step for step in map(json.loads, new.splitlines()) if step["seconds"] > MAX_STEP_SECONDS]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    quota = {"GATEWAY_STORED_BYTES_PER_USER": str(2**30)}  # nothing is refused for what is stored already
    stack = MeasuredStack(Plan(tmp_path_factory.mktemp("measured"), gateways=1, gateway=quota))
    with stack:
        found = Measured(create_users(stack), stack.report)
        headers = {"Authorization": f"Bearer {found.deployment.alice}"}
        with httpx2.Client(base_url=f"{stack.url}/v1", headers=headers, timeout=60) as client:
            # The first request of each kind imports modules and opens connections.
            client.post("/responses", json={"input": "hi"})
            client.post("/chat/completions", json={"messages": [{"role": "user", "content": "hi"}]})
        yield found


@pytest.fixture
async def client(measured: Measured) -> AsyncIterator[httpx2.AsyncClient]:
    """Checks afterwards that nothing has held the loop."""
    measured.long_steps()
    async with api(measured.deployment, measured.deployment.alice) as client:
        client.timeout = httpx2.Timeout(120)
        yield client
    assert measured.long_steps() == []


def filled(start: str, unit: str, end: str, size: int = BODY_BYTES, separator: str = "") -> bytes:
    """As many units as the size allows."""
    one = (unit + separator).encode()
    many = one * ((size - len(start) - len(end)) // len(one))
    return start.encode() + many.removesuffix(separator.encode()) + end.encode()


def text(unit: str) -> bytes:
    """A question that is this text, escaped as JSON where it must be."""
    return filled('{"input":"', json.dumps(unit, ensure_ascii=False)[1:-1], '"}')


def array(unit: str) -> bytes:
    return filled('{"input":[', unit, "]}", separator=",")


def many(unit: object, count: int, **fields: object) -> bytes:
    """`count` items."""
    return json.dumps({"input": [unit] * count, **fields}, ensure_ascii=False).encode()


def tools(*, count: int = 1, **function: object) -> bytes:
    made = [{"type": "function", "name": f"f{number}", **function} for number in range(count)]
    return json.dumps({"input": "hi", "tools": made, "max_output_tokens": 1}).encode()


def nested(levels: int, opening: str, closing: str) -> bytes:
    return f'{{"input":{opening * levels}1{closing * levels}}}'.encode()


USER = {"role": "user", "content": "a"}
TEXT_PART = {"type": "text", "text": "a"}
ASSISTANT = {"role": "assistant", "content": "a"}
PROPERTIES = {f"p{number}": {"type": "string", "pattern": "^(a+)+$"} for number in range(120)}

# By the part of a request that a hostile user fills.
RESPONSES: dict[str, bytes] = {
    # brackets, objects and values
    "brackets": array("[" * 60 + "]" * 60),
    "objects": array("{}"),
    "empty strings": array('""'),
    "strings of backslashes": array(r'"\\"'),
    "zeros": array("0"),
    "as many objects as are allowed": array("{}")[:39_990].rstrip(b",{}") + b"]}",
    "open brackets": b"[" * BODY_BYTES,
    "open objects": filled("", '{"a":', ""),
    "closing brackets": b"]" * BODY_BYTES,
    "quotes": b'"' * BODY_BYTES,
    "backslashes": filled('{"input":"', "\\", ""),
    "white space": filled('{"input":', " \n\t", "1}"),
    "mixed nesting": nested(60_000, '[{"a":', "}]"),
    "just too deep": nested(129, "[", "]"),
    "as deep as is allowed": nested(100, '{"a":', "}"),
    # strings of escapes
    "escaped quotes": filled('{"input":"', r"\"", '"}'),
    "escaped letters": filled('{"input":"', r"\u0061", '"}'),
    "escaped NUL": filled('{"input":"', r"\u0000", '"}'),
    "escaped surrogate pairs": filled('{"input":"', r"\ud83d\ude00", '"}'),
    "lone surrogates": filled('{"input":"', r"\ud800", '"}'),
    "invalid escapes": filled('{"input":"', r"\x", '"}'),
    # numbers
    "a long integer": filled('{"input":', "9", "}"),
    "a long fraction": filled('{"input":0.', "9", "}"),
    "a long exponent": filled('{"input":1e', "9", "}"),
    "integers of 4000 digits": array("9" * 4000),
    "fractions of 90 digits": array("0." + "1234567891" * 9),
    "subnormal numbers": many(2.2250738585072014e-308, 19_000),
    "halves between two doubles": filled('{"input":[', "9007199254740993." + "0" * 30 + "1", "]}", separator=","),
    # names
    "duplicate names": filled("{", '"a":1', "}", separator=","),
    "different names": json.dumps({f"{number:x}": 1 for number in range(19_000)}).encode(),
    "a long name": filled('{"', "a", '":1}'),
    "unknown fields of items": many({**USER, "x": 1}, 4_000),
    # Unicode
    "zalgo": text("Z" + "\u0301\u0489\u036b" * 40),
    "right to left": text("\u202e\u2067א"),
    "combining marks": text("\u0301"),
    "NFKC expanders": text("\ufdfa"),
    "casefold expanders": text("\u0390ß"),
    "emoji sequences": text("👨‍👩‍👧‍👦🏳️‍🌈"),
    "new lines": text("\n"),
    "invalid UTF-8": b'{"input":"' + b"\xff" * 900_000 + b'"}',
    # control tokens, and what each regular expression begins with
    "control tokens": text("<|im_start|>"),
    "angle brackets": text("<"),
    "bars": text("<|"),
    "tags": text("<a"),
    "long tags": text("<" + "a" * 41),
    "name spaces": text("<" + "a" * 20 + ":"),
    "end tags": text("</s>"),
    "half of a tool call": text("</tool_"),
    "square brackets": text("["),
    "square bars": text("[|" + "a" * 41),
    "full-width bars": text("＜｜"),
    "markup of titles": text("**__`# - "),
    "blank lines of events": text("\r\n\r"),
    # items, parts and tools
    "many messages": many(USER, 6_500),
    "many messages of two roles": json.dumps({"input": [USER, ASSISTANT] * 3_250, "truncation": "auto"}).encode(),
    "many parts": many({"role": "user", "content": [{"type": "input_text", "text": "a"}] * 6_000}, 1),
    "reasoning": many({"type": "reasoning"}, 9_000),
    "calls without outputs": many({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, 3_500),
    "outputs without calls": many({"type": "function_call_output", "call_id": "c", "output": ""}, 4_500),
    "unreadable compactions": many({"type": "compaction", "encrypted_content": "x" * 80}, 6_000),
    "data URLs": many(
        {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64," + "A" * 90_000}]}, 10
    ),
    "many tools": tools(count=128, parameters={"type": "object", "properties": {"a": {"type": "string"}}}),
    "large tool schemas": tools(count=32, parameters={"type": "object", "properties": PROPERTIES}),
    "control tokens in a schema": tools(parameters={"x": "<|" * 400_000}),
    "control tokens in a description": tools(description="<a" * 400_000),
    "more tools than allowed": tools(count=3_000),
    "a long name of a tool": tools(name="a" * 900_000),
    "a long schema of the answer": json.dumps(
        {"input": "hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": {"a": "<|" * 400_000}}}}
    ).encode(),
    # ids and metadata
    "a long id": json.dumps({"input": "hi", "previous_response_id": "resp_" + "a" * 900_000}).encode(),
    "many pairs of metadata": json.dumps({"input": "hi", "metadata": {f"{n}": "" for n in range(9_000)}}).encode(),
    "long metadata": json.dumps({"input": "hi", "metadata": {"a": "x" * 900_000}}).encode(),
    "long instructions": json.dumps({"input": "hi", "instructions": "<|" * 400_000}).encode(),
}


@pytest.mark.parametrize("body", RESPONSES.values(), ids=RESPONSES.keys())
async def test_no_request_for_a_response_holds_the_loop(client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await client.post("/responses", content=body, headers=JSON_HEADERS)
    assert answer.status_code in {200, 400, 404}


PATHS: dict[str, Callable[[], tuple[str, object]]] = {
    "chat messages": lambda: ("/chat/completions", {"messages": [USER, ASSISTANT] * 3_250, "max_tokens": 1}),
    "control tokens in a chat": lambda: ("/chat/completions", {"messages": [{**USER, "content": "<|" * 400_000}]}),
    "chat parts": lambda: ("/chat/completions", {"messages": [{**USER, "content": [TEXT_PART] * 6_000}]}),
    "compaction of many messages": lambda: ("/responses/compact", {"model": MODEL, "input": [USER] * 6_500}),
    "compaction of control tokens": lambda: ("/responses/compact", {"model": MODEL, "input": "<|" * 400_000}),
    "count of many messages": lambda: ("/responses/input_tokens", {"input": [USER] * 6_500}),
    "count of control tokens": lambda: ("/responses/input_tokens", {"input": "<|" * 400_000}),
    "items of a conversation": lambda: ("/conversations", {"items": [{**USER, "content": "<" * 3_000}] * 20}),
    "metadata of a conversation": lambda: ("/conversations", {"metadata": {f"{n}": "" for n in range(5_000)}}),
}  # fmt: skip


@pytest.mark.parametrize("request_of", PATHS.values(), ids=PATHS.keys())
async def test_no_other_request_with_a_body_holds_the_loop(
    client: httpx2.AsyncClient, request_of: Callable[[], tuple[str, object]]
) -> None:
    path, body = request_of()
    answer = await client.post(path, json=body)
    assert answer.status_code in {200, 400}


async def test_ten_large_requests_at_once_hold_the_loop_no_longer_than_one(client: httpx2.AsyncClient) -> None:
    bodies = [RESPONSES[name] for name in ("many messages", "tags", "subnormal numbers", "escaped quotes", "brackets")]
    answers = await asyncio.gather(
        *(client.post("/responses", content=body, headers=JSON_HEADERS) for body in bodies * 2)
    )
    assert {answer.status_code for answer in answers} <= {200, 400}


FRAMES = {
    "brackets": array("[" * 60 + "]" * 60)[:FRAME_BYTES],
    "objects": filled('{"type":"response.create","input":[', "{}", "]}", FRAME_BYTES, ","),
    "control tokens": filled('{"type":"response.create","input":"', "<|", '"}', FRAME_BYTES),
    "messages": json.dumps({"type": "response.create", "input": [USER] * 1_500}).encode(),
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
async def test_no_frame_holds_the_loop(measured: Measured, client: httpx2.AsyncClient, frame: bytes) -> None:
    async with measured.deployment.socket(measured.deployment.alice) as socket:
        for _ in range(2):
            await socket.send(frame.decode())
        while json.loads(await socket.recv())["type"] not in {"error", "response.failed", "response.completed"}:
            pass


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/responses/resp_" + "a" * 5_000, {}),
        ("/responses?" + "&".join(f"a{number}=1" for number in range(900)), {}),
        ("/conversations?after=conv_" + "a" * 100, {}),
        ("/conversations/" + "%F0%9F%98%80" * 300, {}),
        ("/models", {"Authorization": "Bearer " + "pk_" * 2_000}),
        ("/models", {"Authorization": "", "Cookie": "; ".join(f"a{number}=1" for number in range(800))}),
    ],
    ids=["id", "query parameters", "cursor", "path", "credential", "cookies"],
)
async def test_no_id_query_or_header_holds_the_loop(
    client: httpx2.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    answer = await client.get(path, headers=headers)
    assert answer.status_code in {400, 401, 404, 426}


@pytest.fixture(scope="module")
def long_conversations(measured: Measured) -> list[str]:
    """Of long items, of short items, and of instructions only: 12 MB in all."""
    headers = {"Authorization": f"Bearer {measured.deployment.alice}"}
    words = "lorem ipsum " * 5_000
    kinds = [({**USER, "content": words}, 1, 120), (ASSISTANT, 20, 75), ({"role": "system", "content": words}, 1, 80)]
    made: list[str] = []
    with httpx2.Client(base_url=f"{measured.deployment.stack.url}/v1", headers=headers, timeout=60) as client:
        for item, at_once, times in kinds:
            made.append(client.post("/conversations", json={}).json()["id"])
            for _ in range(times):
                added = client.post(f"/conversations/{made[-1]}/items", json={"items": [item] * at_once})
                assert added.status_code == 200
    return made


async def test_no_question_or_list_of_a_long_conversation_holds_the_loop(
    long_conversations: list[str], measured: Measured, client: httpx2.AsyncClient
) -> None:
    for one in long_conversations:
        call = {"type": "function_call_output", "call_id": "unknown", "output": ""}
        for question in ({"input": "hi", "truncation": "auto"}, {"input": "hi"}, {"input": [call]}):
            answer = await client.post("/responses", json={"conversation": one, "max_output_tokens": 1, **question})
            assert answer.status_code in {200, 400}
        counted = await client.post("/responses/input_tokens", json={"conversation": one, "input": "hi"})
        assert counted.status_code in {200, 400}
        assert (await client.get(f"/conversations/{one}/items?limit=100")).status_code == 200
    together = [
        client.post("/responses", json={"conversation": long_conversations[0], "input": "hi"}) for _ in range(8)
    ]
    assert {answer.status_code for answer in await asyncio.gather(*together)} == {400}


@pytest.mark.parametrize(
    "query",
    [
        " ".join(a + b for a in "abcdefghi" for b in "qxzjkv")[:161],
        "lorem ipsum missing",
        "\ufdfa" * 200,
        "a " * 99 + "b",
    ],
    ids=["short words", "words", "expanders", "letters"],
)
async def test_no_search_holds_the_loop(long_conversations: list[str], client: httpx2.AsyncClient, query: str) -> None:
    answers = await asyncio.gather(*(client.get("/conversations", params={"query": query}) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}


async def test_no_deletion_of_a_long_conversation_holds_the_loop(
    long_conversations: list[str], client: httpx2.AsyncClient
) -> None:
    for one in long_conversations:
        assert (await client.delete(f"/conversations/{one}")).status_code == 200
