"""A gateway dies before it responds: nginx repeats the request at another, which recognises the question."""

from collections.abc import AsyncGenerator, Callable

import anyio
import pytest
from anyio.to_thread import run_sync
from redis.asyncio import Redis

from dev.process import Process
from tests.chaos import environment
from tests.chaos.environment import Environment
from tests.stack.conftest import Deployment

MODEL = "parley-demo"


@pytest.fixture(scope="module")
async def chaos(anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Environment]:
    async with environment.started(tmp_path_factory.mktemp("repeated"), engine="scripted", pause_seconds=1) as found:
        yield found


@pytest.fixture
async def deployment(chaos: Environment) -> Deployment:
    """Restored after the previous test."""
    await chaos.restore()
    return Deployment(chaos.stack, chaos.key, chaos.key)


def accepted(chaos: Environment, *, mute: bool = False) -> list[int]:
    """The gateways that accept a question from now on. `mute`: the first never receives Redis' reply."""
    numbers: list[int] = []

    def listening(number: int) -> Callable[[bytes], bool]:
        def listen(request: bytes) -> bool:
            if b":once:" not in request or b"EXEC" not in request:
                return False
            numbers.append(number)
            return mute and len(numbers) == 1

        return listen

    for number, proxy in enumerate(chaos.redis_proxies, 1):
        proxy.drop_reply_to(listening(number))
    return numbers


def runs(deployment: Deployment, prompt: str) -> int:
    """How often the engine was asked to start this prompt's answer."""
    return [messages[-1]["content"] for messages in deployment.prompts()].count(prompt)


async def logs(redis: Redis) -> set[bytes]:
    return {key async for key in redis.scan_iter(match="parley:*:log*")}


async def has_text(redis: Redis, log: bytes) -> bool:
    """More than the four events before the first delta. An answer without text would rightly start again."""
    return int(await redis.xlen(log)) > 4


@pytest.mark.parametrize("go", [Process.kill, Process.stop], ids=["killed", "stopped"])
async def test_an_answer_that_is_not_streamed_comes_from_another_gateway(
    chaos: Environment, deployment: Deployment, go: Callable[[Process], None]
) -> None:
    conversation = await deployment.conversation(deployment.alice)
    text = conversation + "".join(f" line {number}, 第{number}行;" for number in range(15))
    prompt = f"[[pace=0.02 text={text}]]"
    numbers, answers = accepted(chaos), []

    async def ask() -> None:
        async with deployment.client(deployment.alice) as client:
            answers.append(await client.responses.create(model=MODEL, input=prompt, conversation=conversation))

    async with chaos.redis() as redis, anyio.create_task_group() as tasks:
        before = await logs(redis)
        tasks.start_soon(ask)
        while not any([await has_text(redis, log) for log in await logs(redis) - before]):
            await anyio.sleep(0.02)
        await run_sync(go, chaos.process(f"gateway-{numbers[0]}"))
    assert [(answer.status, answer.output_text) for answer in answers] == [("completed", text)]
    assert await deployment.items(deployment.alice, conversation) == [
        ("user", prompt, "completed"),
        ("assistant", text, "completed"),
    ]
    assert runs(deployment, prompt) == 1


async def test_a_stream_that_has_not_started_starts_at_another_gateway(
    chaos: Environment, deployment: Deployment
) -> None:
    """Redis has accepted the question, and the gateway is killed before it receives the reply."""
    prompt, conversation = "[[text=asked once]]", await deployment.conversation(deployment.alice)
    numbers, sequence_numbers = accepted(chaos, mute=True), []

    async def ask() -> None:
        async with deployment.client(deployment.alice) as client:
            events = await client.responses.create(model=MODEL, input=prompt, conversation=conversation, stream=True)
            sequence_numbers.extend([event.sequence_number async for event in events])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        while not numbers:
            await anyio.sleep(0.02)
        await run_sync(chaos.process(f"gateway-{numbers[0]}").kill)
    assert sequence_numbers == list(range(len(sequence_numbers)))
    assert [text for _, text, _ in await deployment.items(deployment.alice, conversation)] == [prompt, "asked once"]
    assert runs(deployment, prompt) == 1
