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
    """A connection that has been used once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    assert await echoed((reader, writer)) == b"hello"
    return reader, writer


async def echoed(streams: Streams) -> bytes:
    reader, writer = streams
    writer.write(b"hello")
    return await reader.readexactly(5)


async def is_silent(streams: Streams) -> bool:
    try:
        async with asyncio.timeout(0.3):
            await echoed(streams)
    except TimeoutError:
        return True
    return False


async def test_stalled_bytes_arrive_later() -> None:
    async with echo_behind_a_proxy() as proxy:
        reader, writer = await connected(proxy)
        proxy.stall()
        assert await is_silent((reader, writer))
        proxy.restore()
        assert await reader.readexactly(5) == b"hello"
        writer.close()


async def test_a_half_open_connection_loses_its_bytes_and_stays_open() -> None:
    async with echo_behind_a_proxy() as proxy:
        old = await connected(proxy)
        proxy.forget()
        assert await is_silent(old)
        assert not old[0].at_eof()
        new = await connected(proxy)
        for _, writer in (old, new):
            writer.close()


async def test_a_reset_reaches_the_client() -> None:
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


async def test_a_cut_delivers_the_given_number_of_bytes() -> None:
    async with echo_behind_a_proxy() as proxy:
        reader, writer = await connected(proxy)
        proxy.cut_after(3)
        writer.write(b"hello")
        assert await reader.read() == b"hel"
        writer.close()


async def test_new_connections_are_refused_until_the_proxy_is_restored() -> None:
    async with echo_behind_a_proxy() as proxy:
        proxy.refuse()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await connected(proxy)
        proxy.restore()
        _, writer = await connected(proxy)
        writer.close()


async def test_a_request_arrives_and_its_reply_is_dropped() -> None:
    async with echo_behind_a_proxy() as proxy:
        streams, other = await connected(proxy), await connected(proxy)
        proxy.drop_reply_to(lambda data: b"hello" in data)
        assert await is_silent(streams)
        assert proxy.dropped_reply.is_set()
        assert await echoed(other) == b"hello"
        for _, writer in (streams, other):
            writer.close()
