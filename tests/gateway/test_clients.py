"""How the gateway's clients behave towards servers that close connections."""

import asyncio

import pytest

from gateway import clients
from gateway.identity.auth_service import AuthService
from gateway.identity.introspection import Credential
from gateway.settings import Settings
from tests.gateway.test_settings import NEEDED

_BODY = b'{"active":true,"scope":"chat","sub":"user_1","username":"alice"}'
_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that closes an idle connection at the moment when the next request arrives on it."""
    await reader.readuntil(b"token=x")
    writer.write(_RESPONSE)
    await reader.read(1)
    writer.close()


async def test_a_connection_that_the_auth_service_closes_when_it_is_idle_refuses_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    async with await asyncio.start_server(answer_once, "127.0.0.1", 0) as server:
        monkeypatch.setenv("GATEWAY_AUTH_URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with clients.auth_service(Settings.from_environment()) as client:
            for _ in range(3):
                assert (await AuthService(client).introspect(Credential("x"))).id == "user_1"
