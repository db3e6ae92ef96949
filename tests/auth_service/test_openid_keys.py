"""Tests of auth_service.openid_provider: key rotation, which the real provider of test_openid.py does not offer."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from auth_service.errors import OpenidRefused
from auth_service.openid_flow import Flow
from auth_service.openid_provider import ClientRegistration, OpenidProvider
from tests.auth_service.fakes import Clock

FLOW: Final = Flow.begin()


class RotatingKeyProvider(ThreadingHTTPServer):
    """Signs ID tokens with the key `signing` and serves the keys `published`; a stolen key may be the former without
    being among the latter."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.issuer = f"http://127.0.0.1:{self.server_port}"
        self.signing = new_key()
        self.published = [self.signing]

    def answer(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            return {"keys": [key.as_dict(private=False) for key in self.published]}
        if path == "/token":
            return {"access_token": "x", "token_type": "Bearer", "id_token": self._id_token()}
        paths = {"authorization_endpoint": "/", "token_endpoint": "/token", "jwks_uri": "/keys"}
        return {"issuer": self.issuer, **{name: self.issuer + path for name, path in paths.items()}}

    def _id_token(self) -> str:
        now = int(time.time())
        subject = {"sub": "7", "email": "alice@example.org", "preferred_username": "alice", "nonce": FLOW.nonce}
        claims = {"iss": self.issuer, "aud": "parley", "iat": now, "exp": now + 60, **subject}
        header = {"alg": "Ed25519", "kid": self.signing.kid}
        return jwt.encode(header, claims, self.signing, algorithms=["Ed25519"])


class _Answers(BaseHTTPRequestHandler):
    server: RotatingKeyProvider

    def do_GET(self) -> None:
        body = json.dumps(self.server.answer(self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


def new_key() -> OKPKey:
    return OKPKey.generate_key("Ed25519", auto_kid=True)


@pytest.fixture
def provider() -> Iterator[RotatingKeyProvider]:
    with RotatingKeyProvider() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client_of(provider: RotatingKeyProvider, clock: Clock) -> OpenidProvider:
    registration = ClientRegistration(provider.issuer, "parley", "", "http://chat.test/auth/openid/callback")
    return OpenidProvider(registration, clock)


async def test_a_key_revoked_by_the_provider_is_rejected_an_hour_later(provider: RotatingKeyProvider) -> None:
    clock = Clock()
    client = client_of(provider, clock)
    assert (await client.fetch_claims("code", FLOW)).subject == "7"
    provider.published = [new_key()]
    clock.now += 3600
    with pytest.raises(OpenidRefused):
        await client.fetch_claims("code", FLOW)


async def test_a_new_key_of_the_provider_is_accepted_immediately(provider: RotatingKeyProvider) -> None:
    client = client_of(provider, Clock())
    await client.fetch_claims("code", FLOW)
    provider.signing = new_key()
    provider.published = [provider.signing]
    assert (await client.fetch_claims("code", FLOW)).subject == "7"
