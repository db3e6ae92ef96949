"""The refusals of /v1/conversations, through nginx."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from openai import APIStatusError, AsyncOpenAI

from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment
from tests.stack.plain_client import ADDED, api, got, posted_to

ABSENT = "conv_" + "0" * 32


@pytest.fixture
async def alice_api(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    async with api(deployment, deployment.alice) as client:
        yield client


@pytest.fixture
async def bob_api(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    async with api(deployment, deployment.bob) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"order": "sideways"}, "order"),
        ({"query": ""}, "query"),
        ({"query": "   "}, "query"),
        ({"query": "x" * 201}, "query"),
    ],
)
async def test_an_invalid_list_parameter_is_named(
    alice_api: httpx2.AsyncClient, query: dict[str, Any], param: str
) -> None:
    answer = await alice_api.get("/conversations", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("", {"items": [ADDED] * 21}, "items"),
        ("", {"metadata": {"k" * 65: "v"}}, "metadata"),
        ("", {"generation": {"temperature": 3}}, "generation.temperature"),
        ("", {"titel": "x"}, "titel"),
        ("/{id}", {"generation": {"color": "red"}}, "generation.color"),
        ("/{id}/items", {"items": []}, "items"),
        ("/{id}/items", {"items": [ADDED] * 21}, "items"),
        ("/{id}/items", {}, "items"),
        ("/{id}/items", {"items": [{"role": "user", "content": [{"type": "input_image"}]}]}, "items[0].content[0]"),
        ("", {"items": [{"type": "compaction", "encrypted_content": "garbage"}]}, "items[0].encrypted_content"),
        (
            "/{id}/items",
            {"items": [ADDED, {"type": "compaction", "encrypted_content": "x"}]},
            "items[1].encrypted_content",
        ),
    ],
)
async def test_an_invalid_field_is_named_and_nothing_changes(
    alice_api: httpx2.AsyncClient, path: str, body: Wire, param: str
) -> None:
    made = await posted_to(alice_api, "/conversations", metadata={"title": "kept"})
    answer = await alice_api.post("/conversations" + path.format(id=made["id"]), json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.json()["error"]["param"].startswith(param)
    assert await got(alice_api, f"/conversations/{made['id']}") == made
    assert (await got(alice_api, f"/conversations/{made['id']}/items"))["data"] == []


async def test_another_users_objects_are_not_found_on_any_route(
    alice_api: httpx2.AsyncClient, bob_api: httpx2.AsyncClient
) -> None:
    made = await posted_to(alice_api, "/conversations", items=[ADDED])
    items = await got(alice_api, f"/conversations/{made['id']}/items")
    item_id = items["first_id"]
    cursor = (await got(alice_api, "/conversations", limit=1))["next_after"]
    for method, path, body in (
        ("GET", "/conversations/{}", None),
        ("POST", "/conversations/{}", {"metadata": {"title": "his"}}),
        ("DELETE", "/conversations/{}", None),
        ("GET", "/conversations/{}/items", None),
        ("POST", "/conversations/{}/items", {"items": [ADDED]}),
        ("GET", "/conversations/{}/items/" + item_id, None),
        ("DELETE", "/conversations/{}/items/" + item_id, None),
        ("GET", "/conversations?after={}", None),
        ("POST", "/responses", {"conversation": "{}", "input": "hi"}),
    ):
        answers = []
        for conversation_id in (made["id"], ABSENT):
            sent = {**body, "conversation": conversation_id} if body and "conversation" in body else body
            answer = await bob_api.request(method, path.format(conversation_id), json=sent)
            answers.append((answer.status_code, answer.content))
        assert answers[0] == answers[1]
        assert answers[0][0] == 404, path
    assert (await bob_api.get("/conversations", params={"after": cursor})).status_code == 404
    assert (await got(alice_api, f"/conversations/{made['id']}")) == made
    assert (await got(alice_api, f"/conversations/{made['id']}/items")) == items


async def test_without_a_credential_every_request_is_refused(deployment: Deployment) -> None:
    async with AsyncOpenAI(base_url=f"{deployment.stack.url}/v1", api_key="pk_wrong", max_retries=0) as nobody:
        for request in (nobody.conversations.retrieve(ABSENT), nobody.conversations.delete(ABSENT)):
            with pytest.raises(APIStatusError) as caught:
                await request
            assert caught.value.status_code == 401
