"""`/ws`, as the page that Parley grew from uses it. Tests `gateway.routes.plain_text`."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import ClientConnection, connect

from tests.stack.conftest import ORIGIN_SECRET, PASSWORD, Deployment

GREETING = "你好!很高兴能为你提供帮助。有什么问题或需要我协助的事项吗?"


async def answers(socket: ClientConnection) -> AsyncIterator[str]:
    """The model's text, without the announcements of departures."""
    async with asyncio.timeout(20):
        while True:
            text = str(await socket.recv())
            if not text.startswith("Client #"):
                yield text


async def receive(socket: ClientConnection, length: int) -> str:
    """Receives until `length` characters have arrived."""
    text = ""
    async for piece in answers(socket):
        text += piece
        if len(text) >= length:
            break
    return text


async def departure(socket: ClientConnection, name: str) -> None:
    async with asyncio.timeout(20):
        while await socket.recv() != f"Client #{name} left the chat":
            pass


async def test_a_message_is_answered_piece_by_piece(deployment: Deployment) -> None:
    async with deployment.plain_text("12345", ORIGIN_SECRET) as socket:
        await socket.send("你好")
        first = await receive(socket, 1)
        assert first != GREETING
        assert first + await receive(socket, len(GREETING) - len(first)) == GREETING


@pytest.mark.parametrize(
    ("user", "secret"),
    [("12345", "wrong"), ("nobody", ORIGIN_SECRET), ("12345", ""), ("", ""), ("alice", ORIGIN_SECRET)],
)
async def test_a_wrong_secret_answers_every_message_and_generates_nothing(
    deployment: Deployment, user: str, secret: str
) -> None:
    async with deployment.plain_text(user, secret) as socket:
        for _ in range(3):
            await socket.send("let me in, 你好")
            assert await socket.recv() == "authentication failed"
    assert "let me in" not in str(deployment.prompts())


@pytest.mark.parametrize("query", ["", "?userid=12345", f"?secret={ORIGIN_SECRET}"])
async def test_a_missing_credential_is_a_policy_violation(deployment: Deployment, query: str) -> None:
    async with connect(f"{deployment.socket_url}/ws{query}") as socket:
        await socket.wait_closed()
    assert socket.close_code == 1008


async def test_an_api_key_is_a_secret_too(deployment: Deployment) -> None:
    async with deployment.plain_text("alice", deployment.alice) as socket:
        await socket.send("[[text=with a key]]")
        assert await receive(socket, 10) == "with a key"


async def test_another_users_api_key_is_refused(deployment: Deployment) -> None:
    async with deployment.plain_text("bob", deployment.alice) as socket:
        await socket.send("hello")
        assert await socket.recv() == "authentication failed"


async def test_empty_text_is_ignored(deployment: Deployment) -> None:
    async with deployment.plain_text("alice", PASSWORD) as socket:
        await socket.send("[[text=one]] before")
        assert await receive(socket, 3) == "one"
        await socket.send("")
        await socket.send("  ")
        await socket.send("[[text=two]] behind")
        assert await receive(socket, 3) == "two"
    said = [one["content"] for one in deployment.prompts()[-1]]
    assert said[-3:] == ["[[text=one]] before", "one", "[[text=two]] behind"]


@pytest.mark.parametrize("leaver_on", [1, 2])
async def test_a_departure_is_announced_on_every_gateway(deployment: Deployment, leaver_on: int) -> None:
    async with (
        deployment.plain_text("alice", PASSWORD, gateway=1) as one,
        deployment.plain_text("12345", ORIGIN_SECRET, gateway=2) as two,
    ):
        async with deployment.plain_text("bob", PASSWORD, gateway=leaver_on):
            pass
        await departure(one, "bob")
        await departure(two, "bob")


async def test_an_unauthenticated_client_is_not_announced_and_receives_no_announcements(deployment: Deployment) -> None:
    async with deployment.plain_text("alice", PASSWORD) as here, deployment.plain_text("bob", "wrong") as stranger:
        async with deployment.plain_text("nobody", "wrong"):
            pass
        async with deployment.plain_text("12345", ORIGIN_SECRET):
            pass
        async with asyncio.timeout(20):
            received = ""
            while received != "Client #12345 left the chat":
                received = str(await here.recv())
                assert "nobody" not in received
        await stranger.send("x")
        assert await stranger.recv() == "authentication failed"


async def test_an_invalid_message_on_the_redis_channel_harms_no_client(deployment: Deployment) -> None:
    async with (
        Redis.from_url(deployment.stack.redis_admin_url) as redis,
        deployment.plain_text("alice", PASSWORD) as socket,
    ):
        await redis.publish("parley:plain-text:left", b"\xff")
        assert await socket.recv() == "\ufffd"
    async with deployment.client(deployment.alice) as client:
        assert (await client.conversations.create()).id


async def test_the_next_visit_remembers_the_last_one(deployment: Deployment) -> None:
    async with deployment.plain_text("bob", PASSWORD) as socket:
        await socket.send("[[text=first answer]]")
        await receive(socket, len("first answer"))
    async with asyncio.timeout(20):
        while (await deployment.latest_items(deployment.bob))[-1] != ("assistant", "first answer", "completed"):
            await asyncio.sleep(0.02)
    async with deployment.plain_text("bob", PASSWORD) as socket:
        await socket.send("[[text=2]]")
        await receive(socket, 1)
    said = [one["content"] for one in deployment.prompts()[-1]]
    assert said[-3:] == ["[[text=first answer]]", "first answer", "[[text=2]]"]


async def test_an_engine_failure_is_reported_as_text(deployment: Deployment) -> None:
    async with deployment.plain_text("carol", PASSWORD) as socket:
        await socket.send("[[status=500]]")
        sentence = "the model server returned status 500"
        assert await receive(socket, len(sentence)) == sentence


async def test_messages_sent_in_a_row_are_answered_in_order(deployment: Deployment) -> None:
    async with deployment.plain_text("12345", ORIGIN_SECRET) as socket:
        await socket.send("[[pace=0.05 text=one]]")
        await socket.send("[[text=two]]")
        assert await receive(socket, 6) == "onetwo"
