"""Tests of all modules that write something: no secret may be written to any of these places."""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from redis.client import PubSub

from tests.auth_service import redis
from tests.auth_service.conftest import CREDENTIAL, GATEWAY, sqlite_only
from tests.auth_service.processes import command, serving

PASSWORD = "canary-password-of-root"
NEW_PASSWORD = "canary-password-after-that"
CLIENT_SECRET = "canary-of-the-openid-client"


class RecordingClient:
    """Records the bodies of all responses that must not contain a secret."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http
        self.bodies: list[str] = []

    async def post(
        self, path: str, body: object = None, *, contains_secret: bool = False, **headers: str
    ) -> httpx2.Response:
        answer = await self._http.post(path, json=body, headers=headers)
        if not contains_secret:
            self.bodies.append(answer.text)
        return answer


@sqlite_only
async def test_no_secret_is_in_a_log_a_response_the_audit_log_the_database_or_redis(
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
        pubsub: PubSub = client.pubsub()  # type: ignore[no-untyped-call]
        pubsub.subscribe("parley:revocations")
        async with serving(environment) as server, server.http() as http:
            recorder = RecordingClient(http)
            registered = await recorder.post("/auth/register", {"username": "root", "password": PASSWORD})
            session = registered.cookies["parley_session"]
            key = (await recorder.post("/auth/keys", {"name": "laptop"}, contains_secret=True)).json()["key"]
            ticket = (await recorder.post("/auth/tickets", contains_secret=True)).json()["ticket"]
            invite = (
                (await recorder.post("/auth/admin/invites", {}, contains_secret=True)).json()["link"].partition("=")[2]
            )
            me = (await http.get("/auth/me")).json()["id"]
            reset = (
                (await recorder.post(f"/auth/admin/users/{me}/reset", contains_secret=True))
                .json()["link"]
                .partition("=")[2]
            )
            body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
            await recorder.post("/auth/password", body)
            for wrong in [
                {"username": PASSWORD, "password": NEW_PASSWORD},
                {"username": "bob", "password": key, "invite": invite[:-1] + "x"},
                {"username": "bob", "password": [PASSWORD], "invite": {reset: ticket}, PASSWORD[:40]: 1},
            ]:
                await recorder.post("/auth/register", wrong)
                await recorder.post("/auth/login", wrong)
                await recorder.post("/auth/reset", {"token": PASSWORD, "password": "short"})
            for token in [session, key, ticket, NEW_PASSWORD]:
                for path in ["/introspect", "/revoke", "/nowhere", f"/auth/{token}", f"/auth/login?x={token}"]:
                    answer = await http.post(path, data={"token": token}, headers=GATEWAY)
                    recorder.bodies.append(answer.text)
            await http.get("/auth/openid/login")
            await http.get("/auth/openid/callback", params={"code": key, "state": reset, "error": ticket})
            await recorder.post("/auth/login", {"username": "root", "password": NEW_PASSWORD})
            recorder.bodies.append((await http.get("/auth/admin/audit?limit=100")).text)
            await server.stop()
        done = await command(environment, "session", "revoke", "root", "--all")
        messages = []
        pubsub.ping()  # Redis answers it after everything that was published before
        while (message := pubsub.get_message(timeout=10)) and message["type"] in {"subscribe", "message"}:
            messages.append(json.dumps(message))
        assert message, "Redis did not answer the ping"
        keys = list(client.scan_iter("*"))
        pubsub.close()
        client.close()
    assert len(messages) > 3
    assert keys == []
    with closing(sqlite3.connect(tmp_path / "auth.db")) as file:
        stored = "\n".join(file.iterdump())
    secrets = [PASSWORD, NEW_PASSWORD, CLIENT_SECRET, CREDENTIAL, redis.PASSWORD, session, key, ticket, invite, reset]
    places = {"log": server.log + done.err, "answers": "\n".join(recorder.bodies), "messages": "\n".join(messages)}
    # The name of an unknown field is repeated to the caller, and only there.
    places["answers"] = places["answers"].replace(PASSWORD[:40], "")
    for place, text in (places | {"database": stored}).items():
        for secret in secrets:
            for form in [secret, secret[3:], base64.b64encode(secret.encode()).decode().rstrip("=")]:
                assert form not in text, f"{form} is in the {place}"


@pytest.mark.parametrize("name", ["AUTH_REDIS_PASSWORD", "AUTH_OPENID_CLIENT_SECRET", "AUTH_INTROSPECTION_CREDENTIAL"])
@sqlite_only
async def test_a_failed_start_repeats_no_secret(environment: dict[str, str], name: str) -> None:
    refused = await command(environment | {name: "canary", "AUTH_OPENID_ISSUER": "ftp://canary.test"}, "serve")
    assert refused.status == 2
    assert "canary\n" not in refused.err
    assert "'canary'" not in refused.err
