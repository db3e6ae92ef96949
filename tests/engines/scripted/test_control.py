"""The scripted engine's control endpoints: posted scripts and the request log."""

from typing import Any

import httpx2
import pytest

from engines.scripted.server import listening
from engines.scripted.settings import EngineSettings
from tests.contract.engine_shapes import events_in
from tests.engines.scripted.conftest import CHAT, chat_request


async def test_a_posted_script_applies_until_it_is_deleted(client: httpx2.AsyncClient) -> None:
    await client.post("/script", content="status=503")
    assert (await client.get("/script")).json() == {"script": "status=503", "times": None}
    assert [(await client.post(CHAT, json=chat_request("hi"))).status_code for _ in range(2)] == [503, 503]
    assert (await client.get("/v1/models")).status_code == 200
    await client.delete("/script")
    assert (await client.post(CHAT, json=chat_request("hi"))).status_code == 200


async def test_a_posted_script_can_apply_to_the_next_requests_only(client: httpx2.AsyncClient) -> None:
    await client.post("/script", content="status=500 times=2")
    assert [(await client.post(CHAT, json=chat_request("hi"))).status_code for _ in range(3)] == [500, 500, 200]


async def test_a_posted_script_can_apply_to_every_endpoint(client: httpx2.AsyncClient) -> None:
    await client.post("/script", content="status=503 on=all")
    assert [(await client.get(path)).status_code for path in ("/health", "/v1/models", "/metrics")] == [503] * 3


async def test_an_engine_can_refuse_everything(client: httpx2.AsyncClient) -> None:
    await client.post("/script", content="refuse=1 on=all")
    for path in ("/health", "/v1/models"):
        with pytest.raises(httpx2.TransportError):
            await client.get(path)
    await client.delete("/script")
    assert (await client.get("/health")).status_code == 200


async def test_a_misspelt_posted_script_changes_nothing(client: httpx2.AsyncClient) -> None:
    assert (await client.post("/script", content="statu=503")).status_code == 400
    assert (await client.post(CHAT, json=chat_request("hi"))).status_code == 200


async def test_the_request_log_has_every_request_but_no_credential(client: httpx2.AsyncClient) -> None:
    headers = {"Authorization": "Bearer canary", "X-Request-Id": "resp_7-1"}
    await client.post(CHAT, json=chat_request("你好", stream=True), headers=headers)
    answer = await client.get("/requests")
    (entry,) = answer.json()["data"]
    assert (entry["method"], entry["path"], entry["status"]) == ("POST", CHAT, 200)
    assert entry["body"]["messages"][-1]["content"] == "你好"
    assert (entry["headers"]["x-request-id"], entry["headers"]["authorization"]) == ("resp_7-1", "***")
    assert (entry["state"], entry["tokens"] > 0) == ("finished", True)
    assert "canary" not in answer.text


async def test_the_request_log_can_be_cleared(client: httpx2.AsyncClient) -> None:
    await client.post(CHAT, content="not json", headers={"content-type": "application/json"})
    (entry,) = (await client.get("/requests")).json()["data"]
    assert (entry["body"], entry["status"]) == ("not json", 400)
    await client.delete("/requests")
    assert (await client.get("/requests")).json()["data"] == []


@pytest.mark.parametrize(
    "fields",
    [{"n": 2}, {"logprobs": True}, {"echo": True}],
)
async def test_unsupported_fields_are_refused_not_ignored(client: httpx2.AsyncClient, fields: dict[str, Any]) -> None:
    assert (await client.post(CHAT, json=chat_request("hi", **fields))).status_code == 501


async def test_the_usage_can_include_cached_tokens() -> None:
    settings = EngineSettings(port=0, pace_seconds=0, first_seconds=0, enable_prompt_tokens_details=True)
    async with listening(settings) as url, httpx2.AsyncClient(base_url=url) as client:
        streamed = chat_request("hi", stream=True, stream_options={"include_usage": True})
        events = events_in((await client.post(CHAT, json=streamed)).text)
        assert events[-2]["usage"]["prompt_tokens_details"] == {"cached_tokens": 0, "created_cache_tokens": 0}
        whole = (await client.post(CHAT, json=chat_request("hi"))).json()
        assert whole["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
