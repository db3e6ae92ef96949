"""Secrets are planted everywhere one can be, and then looked for in every place that is written to."""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from redis.client import PubSub

from tests.auth_service import redis
from tests.auth_service.conftest import CREDENTIAL, GATEWAY, on_sqlite
from tests.auth_service.processes import command, serving

PASSWORD = "canary-password-of-root"
NEW_PASSWORD = "canary-password-after-that"
CLIENT_SECRET = "canary-of-the-openid-client"


class Witness:
    """Sends requests, and keeps every answer that is not supposed to hold a secret."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self.read: list[str] = []

    async def post(self, path: str, body: object = None, *, shows: bool = False, **headers: str) -> httpx2.Response:
        answer = await self._http.post(path, json=body, headers=headers)
        if not shows:
            self.read.append(answer.text)
        return answer


@on_sqlite
async def test_no_secret_is_in_a_log_an_error_the_audit_log_the_database_or_redis(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with redis.running(tmp_path) as redis_server:
        environment |= {
            "AUTH_REDIS_URL": redis_server.url,
            "AUTH_REDIS_USER": "auth-service",
            "AUTH_REDIS_PASSWORD": redis.PASSWORD,
            "AUTH_REGISTRATION": "invite",
            "AUTH_PUBLIC_URL": "http://chat.test",
            "AUTH_OPENID_ISSUER": "http://127.0.0.1:1",
            "AUTH_OPENID_CLIENT_ID": "parley",
            "AUTH_OPENID_CLIENT_SECRET": CLIENT_SECRET,
        }
        client = redis_server.client("gateway")
        listener: PubSub = client.pubsub()  # type: ignore[no-untyped-call]
        listener.subscribe("parley:revocations")
        async with serving(environment) as server, server.http() as http:
            witness = Witness(http)
            registered = await witness.post("/auth/register", {"username": "root", "password": PASSWORD})
            session = registered.cookies["parley_session"]
            key = (await witness.post("/auth/keys", {"name": "laptop"}, shows=True)).json()["key"]
            ticket = (await witness.post("/auth/tickets", shows=True)).json()["ticket"]
            invite = (await witness.post("/auth/admin/invites", {}, shows=True)).json()["link"].partition("=")[2]
            me = (await http.get("/auth/me")).json()["id"]
            reset = (await witness.post(f"/auth/admin/users/{me}/reset", shows=True)).json()["link"].partition("=")[2]
            body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
            await witness.post("/auth/password", body)
            for wrong in [
                {"username": PASSWORD, "password": NEW_PASSWORD},
                {"username": "bob", "password": key, "invite": invite[:-1] + "x"},
                {"username": "bob", "password": [PASSWORD], "invite": {reset: ticket}, PASSWORD[:40]: 1},
            ]:
                await witness.post("/auth/register", wrong)
                await witness.post("/auth/login", wrong)
                await witness.post("/auth/reset", {"token": PASSWORD, "password": "short"})
            for token in [session, key, ticket, NEW_PASSWORD]:
                for path in ["/introspect", "/revoke", "/nowhere", f"/auth/{token}", f"/auth/login?x={token}"]:
                    answer = await http.post(path, data={"token": token}, headers=GATEWAY)
                    witness.read.append(answer.text)
            await http.get("/auth/openid/login")
            await http.get("/auth/openid/callback", params={"code": key, "state": reset, "error": ticket})
            await witness.post("/auth/login", {"username": "root", "password": NEW_PASSWORD})
            witness.read.append((await http.get("/auth/admin/audit?limit=100")).text)
            await server.stop()
        done = await command(environment, "session", "revoke", "root", "--all")
        messages = []
        while message := listener.get_message(timeout=2):
            messages.append(json.dumps(message))
        keys = list(client.scan_iter("*"))
        listener.close()
        client.close()
    assert len(messages) > 3
    assert keys == []
    with closing(sqlite3.connect(tmp_path / "auth.db")) as file:
        stored = "\n".join(file.iterdump())
    secrets = [PASSWORD, NEW_PASSWORD, CLIENT_SECRET, CREDENTIAL, redis.PASSWORD, session, key, ticket, invite, reset]
    places = {"log": server.log + done.err, "answers": "\n".join(witness.read), "messages": "\n".join(messages)}
    # A caller is told which field was unknown, and that may be anything; nobody else is.
    places["answers"] = places["answers"].replace(PASSWORD[:40], "")
    for place, text in (places | {"database": stored}).items():
        for secret in secrets:
            for form in [secret, secret[3:], base64.b64encode(secret.encode()).decode().rstrip("=")]:
                assert form not in text, f"{form} is in the {place}"


@pytest.mark.parametrize("name", ["AUTH_REDIS_PASSWORD", "AUTH_OPENID_CLIENT_SECRET", "AUTH_INTROSPECTION_CREDENTIAL"])
@on_sqlite
async def test_a_start_that_is_refused_repeats_no_secret(environment: dict[str, str], name: str) -> None:
    refused = await command(environment | {name: "canary", "AUTH_OPENID_ISSUER": "ftp://canary.test"}, "serve")
    assert refused.status == 2
    assert "canary\n" not in refused.err
    assert "'canary'" not in refused.err
