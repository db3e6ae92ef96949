import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.proxy import Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echo_behind_a_proxy() -> AsyncGenerator[Proxy]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, Proxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy


async def connected(proxy: Proxy) -> Streams:
    """A connection that has answered once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await asked((reader, writer)) == b"hello"
    return reader, writer


async def asked(streams: Streams) -> bytes:
    reader, writer = streams
    writer.write(b"hello")
    return await reader.readexactly(5)


async def is_silent(streams: Streams) -> bool:
    try:
        async with asyncio.timeout(0.3):
            await asked(streams)
    except TimeoutError:
        return True
    return False


async def test_what_is_stalled_arrives_later() -> None:
    async with echo_behind_a_proxy() as proxy:
        reader, writer = await connected(proxy)
        proxy.stall()
        assert await is_silent((reader, writer))
        proxy.sound()
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_what_is_forgotten_is_lost_and_the_connection_stays() -> None:
    async with echo_behind_a_proxy() as proxy:
        old = await connected(proxy)
        proxy.forget()
        assert await is_silent(old)
        assert not old[0].at_eof()
        new = await connected(proxy)
        for _, writer in (old, new):
            writer.close()


async def test_a_reset_is_a_reset() -> None:
    async with echo_behind_a_proxy() as proxy:
        reader, _ = await connected(proxy)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.read()


async def test_a_closed_connection_ends() -> None:
    async with echo_behind_a_proxy() as proxy:
        reader, writer = await connected(proxy)
        proxy.close()
        assert await reader.read() == b""
        writer.close()


async def test_so_many_bytes_still_arrive() -> None:
    async with echo_behind_a_proxy() as proxy:
        reader, writer = await connected(proxy)
        proxy.cut_after(3)
        writer.write(b"hello")
        assert await reader.read() == b"hel"
        writer.close()


async def test_new_connections_are_refused_until_it_is_sound_again() -> None:
    async with echo_behind_a_proxy() as proxy:
        proxy.refuse()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connected(proxy)
        proxy.sound()
        _, writer = await connected(proxy)
        writer.close()


async def test_a_request_arrives_and_its_answer_does_not() -> None:
    async with echo_behind_a_proxy() as proxy:
        streams, other = await connected(proxy), await connected(proxy)
        proxy.mute_behind(lambda data: b"hello" in data)
        assert await is_silent(streams)
        assert proxy.has_muted.is_set()
        assert await asked(other) == b"hello"
        for _, writer in (streams, other):
            writer.close()
