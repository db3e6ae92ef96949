"""A stream over HTTP ends when its credential is revoked, as a socket does."""

import asyncio
import json

import httpx2
import pytest

from tests.stack.conftest import Deployment
from tests.stack.test_revocations import Account, account, revoke_the_key

__all__ = ["account"]

ENDLESS = "[[tokens=3000 pace=0.02]]"
STREAMS: dict[str, dict[str, object]] = {
    "/v1/responses": {"input": ENDLESS, "stream": True},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": ENDLESS}], "stream": True},
}


async def read_until_the_key_ends(
    deployment: Deployment, account: Account, method: str, path: str, **body: object
) -> list[str]:
    """The data lines after the revocation."""
    headers = {"Authorization": f"Bearer {account.key}"}
    async with (
        asyncio.timeout(20),
        httpx2.AsyncClient(base_url=deployment.stack.url, headers=headers, timeout=60) as http,
        http.stream(method, path, json=body or None) as answer,
    ):
        lines = answer.aiter_lines()
        while "delta" not in await anext(lines):
            pass
        assert (await revoke_the_key(account)).is_success
        return [line.removeprefix("data: ") async for line in lines if line.startswith("data: ")]


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_over_http_ends_with_its_credential_and_names_the_reason(
    deployment: Deployment, account: Account, path: str
) -> None:
    *_, error, done = await read_until_the_key_ends(deployment, account, "POST", path, **STREAMS[path])
    assert (json.loads(error)["error"]["code"], done) == ("invalid_api_key", "[DONE]")


async def test_a_revoked_follower_over_http_is_disconnected_and_the_answer_continues(
    deployment: Deployment, account: Account
) -> None:
    headers = {"Authorization": f"Bearer {account.key}"}
    async with httpx2.AsyncClient(base_url=deployment.stack.url, headers=headers) as http:
        made = (await http.post("/v1/responses", json={"input": ENDLESS, "background": True})).json()["id"]
    *_, error, done = await read_until_the_key_ends(deployment, account, "GET", f"/v1/responses/{made}?stream=true")
    assert (json.loads(error)["error"]["code"], done) == ("invalid_api_key", "[DONE]")
    headers = {"Cookie": account.cookies[0]}
    async with httpx2.AsyncClient(base_url=deployment.stack.url, headers=headers) as http:
        assert (await http.get(f"/v1/responses/{made}")).json()["status"] == "in_progress"
