"""A stream over HTTP ends with the credential that it was asked for with, as a socket is closed."""

import asyncio
import json

import httpx2
import pytest

from tests.stack.conftest import Deployment
from tests.stack.test_revocations import Person, person, revoke_the_key

__all__ = ["person"]

ENDLESS = "[[tokens=3000 pace=0.02]]"
STREAMS: dict[str, dict[str, object]] = {
    "/v1/responses": {"input": ENDLESS, "stream": True},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": ENDLESS}], "stream": True},
}


async def read_until_the_key_ends(
    deployment: Deployment, person: Person, method: str, path: str, **body: object
) -> list[str]:
    """The data of what comes after it has ended."""
    headers = {"Authorization": f"Bearer {person.key}"}
    async with (
        asyncio.timeout(20),
        httpx2.AsyncClient(base_url=deployment.stack.url, headers=headers, timeout=60) as http,
        http.stream(method, path, json=body or None) as answer,
    ):
        lines = answer.aiter_lines()
        while "delta" not in await anext(lines):
            pass
        assert (await revoke_the_key(person)).is_success
        return [line.removeprefix("data: ") async for line in lines if line.startswith("data: ")]


@pytest.mark.parametrize("path", STREAMS)
async def test_a_stream_over_http_ends_with_its_credential_and_says_why(
    deployment: Deployment, person: Person, path: str
) -> None:
    *_, error, done = await read_until_the_key_ends(deployment, person, "POST", path, **STREAMS[path])
    assert (json.loads(error)["error"]["code"], done) == ("invalid_api_key", "[DONE]")


async def test_who_follows_a_stored_answer_over_http_is_sent_away_and_the_answer_goes_on(
    deployment: Deployment, person: Person
) -> None:
    headers = {"Authorization": f"Bearer {person.key}"}
    async with httpx2.AsyncClient(base_url=deployment.stack.url, headers=headers) as http:
        made = (await http.post("/v1/responses", json={"input": ENDLESS, "background": True})).json()["id"]
    *_, error, done = await read_until_the_key_ends(deployment, person, "GET", f"/v1/responses/{made}?stream=true")
    assert (json.loads(error)["error"]["code"], done) == ("invalid_api_key", "[DONE]")
    headers = {"Cookie": person.cookies[0]}
    async with httpx2.AsyncClient(base_url=deployment.stack.url, headers=headers) as http:
        assert (await http.get(f"/v1/responses/{made}")).json()["status"] == "in_progress"
