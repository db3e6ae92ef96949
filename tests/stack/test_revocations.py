"""A revoked credential closes the sockets that it opened, on every replica, and no others."""

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from gateway.identity.auth_service import AuthService
from gateway.identity.identity import Identity
from gateway.identity.introspection import Credential, User
from tests.stack.conftest import PASSWORD, Deployment, ask

NEW_PASSWORD = "another horse battery"


@dataclass(frozen=True)
class Account:
    """A new user with two sessions and a key. `http` has the first session, `admin` an administrator's."""

    id: str
    name: str
    http: httpx2.AsyncClient
    admin: httpx2.AsyncClient
    cookies: tuple[str, str]
    key: str
    key_id: str

    async def tickets(self, count: int) -> list[str]:
        """Tickets of the second session."""
        headers = {"Cookie": self.cookies[1]}
        made = [await self.http.post("/auth/tickets", headers=headers) for _ in range(count)]
        return [one.json()["ticket"] for one in made]


def logged_in(deployment: Deployment, cookie: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=deployment.stack.url, headers={"Cookie": cookie, "Origin": deployment.stack.url})


@pytest.fixture
async def account(deployment: Deployment) -> AsyncIterator[Account]:
    name = f"user-{secrets.token_hex(4)}"
    # The first user is the administrator.
    async with logged_in(deployment, deployment.log_in("alice", PASSWORD)) as admin:
        made = await admin.post("/auth/admin/users", json={"username": name, "password": PASSWORD})
        cookies = deployment.log_in(name, PASSWORD), deployment.log_in(name, PASSWORD)
        async with logged_in(deployment, cookies[0]) as http:
            key = (await http.post("/auth/keys", json={"name": "laptop"})).json()
            yield Account(made.json()["id"], name, http, admin, cookies, key["key"], key["id"])


async def log_out(account: Account) -> httpx2.Response:
    return await account.http.post("/auth/logout", headers={"Cookie": account.cookies[1]})


async def revoke_one(account: Account) -> httpx2.Response:
    sessions = (await account.http.get("/auth/sessions")).json()["data"]
    [other] = [one["id"] for one in sessions if not one["current"]]
    return await account.http.delete(f"/auth/sessions/{other}")


async def revoke_others(account: Account) -> httpx2.Response:
    return await account.http.delete("/auth/sessions")


async def change_password(account: Account) -> httpx2.Response:
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    return await account.http.post("/auth/password", json=body)


async def use_a_reset_link(account: Account) -> httpx2.Response:
    link = (await account.admin.post(f"/auth/admin/users/{account.id}/reset")).json()["link"]
    body = {"token": link.partition("#reset=")[2], "password": NEW_PASSWORD}
    return await account.http.post("/auth/reset", json=body)


async def revoke_the_key(account: Account) -> httpx2.Response:
    return await account.http.delete(f"/auth/keys/{account.key_id}")


async def end_all_sessions(account: Account) -> httpx2.Response:
    return await account.admin.delete(f"/auth/admin/users/{account.id}/sessions")


async def disable(account: Account) -> httpx2.Response:
    return await account.admin.patch(f"/auth/admin/users/{account.id}", json={"disabled": True})


async def delete(account: Account) -> httpx2.Response:
    return await account.admin.delete(f"/auth/admin/users/{account.id}")


async def delete_oneself(account: Account) -> httpx2.Response:
    return await account.http.request("DELETE", "/auth/me", json={"current_password": PASSWORD})


def with_cookie(deployment: Deployment, cookie: str, gateway: int) -> connect:
    port = deployment.stack.gateway(gateway).command.port
    headers = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"}
    return connect(f"ws://127.0.0.1:{port}/v1/responses", additional_headers=headers)


def with_ticket(deployment: Deployment, ticket: str, gateway: int | None) -> connect:
    """Directly to one gateway, or through nginx."""
    port = deployment.stack.port if gateway is None else deployment.stack.gateway(gateway).command.port
    offered = ["openai-responses", f"openai-insecure-api-key.{ticket}"]
    return connect(f"ws://127.0.0.1:{port}/v1/responses", subprotocols=offered)  # type: ignore[arg-type]


async def close_code(socket: ClientConnection) -> int | None:
    """The close must come long before the socket's own next introspection."""
    async with asyncio.timeout(20):
        await socket.wait_closed()
    return socket.close_code


async def open_sockets(
    deployment: Deployment, account: Account, stack: AsyncExitStack
) -> dict[str, list[ClientConnection]]:
    """Sockets by the credential that opened them, on each of the two replicas."""
    tickets, replicas = await account.tickets(2), (1, 2)
    sockets = {
        "session": [with_cookie(deployment, account.cookies[0], gateway) for gateway in replicas],
        "other session": [with_cookie(deployment, account.cookies[1], gateway) for gateway in replicas],
        "its ticket": [
            with_ticket(deployment, ticket, gateway) for ticket, gateway in zip(tickets, replicas, strict=True)
        ],
        "key": [deployment.socket(account.key, gateway=gateway) for gateway in replicas],
        "password": [deployment.plain_text(account.name, PASSWORD, gateway=gateway) for gateway in replicas],
        "key on /ws": [deployment.plain_text(account.name, account.key, gateway=gateway) for gateway in replicas],
    }
    return {name: [await stack.enter_async_context(one) for one in some] for name, some in sockets.items()}


OTHER = {"other session", "its ticket"}
SESSIONS = OTHER | {"session"}
ALL = SESSIONS | {"key", "password", "key on /ws"}


@pytest.mark.parametrize(
    ("end", "ended"),
    [
        (log_out, OTHER),
        (revoke_one, OTHER),
        (revoke_others, OTHER),
        (end_all_sessions, SESSIONS),
        (change_password, OTHER | {"password"}),
        (use_a_reset_link, SESSIONS | {"password"}),
        (revoke_the_key, {"key", "key on /ws"}),
        (disable, ALL),
        (delete, ALL),
        (delete_oneself, ALL),
    ],
    ids=lambda value: value.__name__ if callable(value) else " and ".join(sorted(value)),
)
async def test_a_revoked_credential_closes_its_sockets_on_every_replica_and_no_others(
    deployment: Deployment, account: Account, end: Callable[[Account], Awaitable[httpx2.Response]], ended: set[str]
) -> None:
    async with AsyncExitStack() as stack:
        sockets = await open_sockets(deployment, account, stack)
        bob_api = [
            await stack.enter_async_context(deployment.socket(deployment.bob, gateway=gateway)) for gateway in (1, 2)
        ]
        await ask(sockets["other session"][0], "hello")
        assert (await end(account)).is_success
        codes = {name: [await close_code(socket) for socket in sockets[name]] for name in ended}
        assert codes == {name: [1008, 1008] for name in ended}
        for socket in [*bob_api, *(one for name in sockets.keys() - ended for one in sockets[name])]:
            await assert_open(socket)


async def assert_open(socket: ClientConnection) -> None:
    if socket.request is not None and socket.request.path.startswith("/ws"):
        await socket.send("[[text=!]]")
        while await socket.recv() != "!":
            pass  # announcements of departures come in between
    else:
        assert (await ask(socket, "[[text=!]]"))[-1]["type"] == "response.completed"


async def test_a_users_message_counts_as_use_of_the_session_but_a_repeated_introspection_does_not(
    deployment: Deployment, account: Account
) -> None:
    async def last_used() -> int:
        sessions = (await account.http.get("/auth/sessions")).json()["data"]
        return int(next(one["last_used_at"] for one in sessions if not one["current"]))

    async with httpx2.AsyncClient(base_url=auth_url(deployment), headers=introspection(deployment)) as client:
        identity = Identity(AuthService(client))
        user = await identity.authenticate(Credential(account.cookies[1].partition("=")[2]))
        set_last_use_an_hour_ago(deployment, user)
        before = await last_used()
        await identity.recheck(user)
        assert await last_used() == before
        await identity.revalidate(user)
        assert await last_used() > before


def auth_url(deployment: Deployment) -> str:
    return f"http://127.0.0.1:{deployment.stack.processes['auth-service'].command.port}"


def introspection(deployment: Deployment) -> dict[str, str]:
    credential = (deployment.stack.plan.directory / "secrets/introspection_credential").read_text()
    return {"Authorization": f"Bearer {credential}"}


def set_last_use_an_hour_ago(deployment: Deployment, user: User) -> None:
    """The last use is set back, because it is recorded at most every half minute."""
    with closing(sqlite3.connect(deployment.stack.plan.directory / "auth.db")) as database, database:
        database.execute("UPDATE sessions SET last_used_at = last_used_at - 3600 WHERE account_id = ?", (user.id,))


async def test_a_ticket_opens_only_one_socket(deployment: Deployment) -> None:
    ticket = await ticket_of(deployment, deployment.bob)
    async with with_ticket(deployment, ticket, 1) as socket:
        assert socket.subprotocol == "openai-responses"
        assert (await ask(socket, "hello"))[-1]["type"] == "response.completed"
        assert (await ask(socket, "and again"))[-1]["type"] == "response.completed"
    with pytest.raises(InvalidStatus) as refused:
        await with_ticket(deployment, ticket, 2)
    assert refused.value.response.status_code == 401


@pytest.mark.parametrize("gateways", [[1], [1, 2], [None]], ids=["one gateway", "two gateways", "nginx"])
async def test_of_concurrent_uses_of_one_ticket_exactly_one_succeeds(
    deployment: Deployment, gateways: list[int | None]
) -> None:
    for _ in range(3):
        ticket = await ticket_of(deployment, deployment.bob)
        handshakes = [with_ticket(deployment, ticket, gateway) for gateway in gateways * 8]
        found = await asyncio.gather(*handshakes, return_exceptions=True)
        sockets = [one for one in found if isinstance(one, ClientConnection)]
        refused = [one.response.status_code for one in found if isinstance(one, InvalidStatus)]
        await asyncio.gather(*(socket.close() for socket in sockets))
        assert (len(sockets), refused) == (1, [401] * (len(handshakes) - 1))


async def ticket_of(deployment: Deployment, key: str) -> str:
    async with httpx2.AsyncClient(base_url=deployment.stack.url, headers={"Authorization": f"Bearer {key}"}) as client:
        return str((await client.post("/auth/tickets")).json()["ticket"])
