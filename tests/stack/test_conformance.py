"""Conformance to Open Responses over HTTP and SSE, through nginx."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.contract import conformance
from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment
from tests.stack.strict_client import MODEL, WEATHER, completed, http, message, posted, streamed, text_of

PIXEL = "data:image/png;base64,iVBORw0KGgo="

INPUTS: dict[str, list[Wire]] = {
    "a user": [message("user", "Say hello in three words.")],
    "a system prompt": [message("system", "You are a sailor."), message("user", "Say hello.")],
    "turns before": [
        message("user", "My name is Alice."),
        message("assistant", "Hello Alice!"),
        message("user", "What is my name?"),
    ],
    "phases": [
        message("assistant", "I should answer with the number.", phase="commentary"),
        message("assistant", "It is four.", phase="final_answer"),
        message("user", "Repeat only the number."),
    ],
}


@pytest.fixture
async def api(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(deployment) as client:
        yield client


@pytest.mark.parametrize("items", INPUTS.values(), ids=INPUTS)
async def test_a_response_is_a_complete_resource(api: httpx2.AsyncClient, items: list[Wire]) -> None:
    whole = await completed(api, input=items)
    assert whole["usage"]["total_tokens"] == whole["usage"]["input_tokens"] + whole["usage"]["output_tokens"] > 0


async def test_a_clients_messages_reach_the_model_in_order(api: httpx2.AsyncClient, deployment: Deployment) -> None:
    await completed(api, input=INPUTS["turns before"])
    assert [(one["role"], one["content"]) for one in deployment.prompts()[-1]][-3:] == [
        ("user", "My name is Alice."),
        ("assistant", "Hello Alice!"),
        ("user", "What is my name?"),
    ]


async def test_a_streamed_answer_has_every_event(api: httpx2.AsyncClient) -> None:
    whole = conformance.story(await streamed(api, input="Count from 1 to 5."))
    assert (whole["status"], bool(text_of(whole))) == ("completed", True)


async def test_an_answer_that_reaches_its_limit_is_incomplete(api: httpx2.AsyncClient) -> None:
    whole = conformance.story(await streamed(api, input="[[tokens=60]]", max_output_tokens=20))
    assert (whole["status"], whole["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert whole["output"][-1]["status"] == "incomplete"


async def test_a_failed_answer_has_its_error_in_the_resource(api: httpx2.AsyncClient) -> None:
    events = await streamed(api, input="[[tokens=60 error=after:5]]")
    for one in events:
        conformance.event(one)
    assert [one["type"] for one in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == events[-2]["error"]["code"]


async def test_parameters_are_returned_as_requested(api: httpx2.AsyncClient) -> None:
    asked: Wire = {
        "instructions": "Be brief.",
        "temperature": 0.2,
        "top_p": 0.5,
        "max_output_tokens": 50,
        "metadata": {"topic": "harbours"},
        "tools": [WEATHER],
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "truncation": "auto",
        "store": False,
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "text": {"format": {"type": "text"}},
    }
    whole = await completed(api, input="hello", **asked)
    assert {name: whole[name] for name in asked} == {**asked, "tools": [{**WEATHER, "strict": None}]}


async def test_optional_fields_may_be_null(api: httpx2.AsyncClient) -> None:
    absent = ("previous_response_id", "tools", "tool_choice", "metadata", "text", "temperature", "top_p", "reasoning")
    more = ("instructions", "max_output_tokens", "safety_identifier", "prompt_cache_key", "parallel_tool_calls")
    await completed(api, input="hello", **dict.fromkeys((*absent, *more)))


async def test_a_stored_response_is_retrieved_unchanged(api: httpx2.AsyncClient) -> None:
    whole = await completed(api, input="hello")
    assert (await api.get(f"/responses/{whole['id']}")).json() == whole


async def test_an_answer_continues_an_earlier_one(api: httpx2.AsyncClient, deployment: Deployment) -> None:
    first = await completed(api, input="The word is papaya.")
    second = await completed(api, input="What is the word?", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    assert [one["content"] for one in deployment.prompts()[-1]][-3:] == [
        "The word is papaya.",
        text_of(first),
        "What is the word?",
    ]


async def test_an_answer_may_be_sent_back_as_input(api: httpx2.AsyncClient) -> None:
    said = message("user", "hello")
    first = await completed(api, input=[said], store=False)
    await completed(api, input=[said, *first["output"], message("user", "and now?")], store=False)


async def test_images_are_refused_by_name(api: httpx2.AsyncClient) -> None:
    parts = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": PIXEL}]
    answer = await api.post("/responses", json={"model": MODEL, "input": [message("user", parts)]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_content")


async def test_an_unknown_model_is_refused_by_name(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/responses", json={"model": "gpt-9", "input": "hello"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_compaction_holds_one_sealed_item(api: httpx2.AsyncClient) -> None:
    items = [message("user", "We launch on Tuesday."), message("assistant", "Understood.")]
    whole = await posted(api, "/responses/compact", input=items, prompt_cache_key="k")
    conformance.compaction(whole)
    assert [one["type"] for one in whole["output"]].count("compaction") == 1
    assert "Tuesday" not in next(one for one in whole["output"] if one["type"] == "compaction")["encrypted_content"]


async def test_a_compaction_without_a_model_is_refused(api: httpx2.AsyncClient) -> None:
    answer = await api.post("/responses/compact", json={"input": [message("user", "hello")]})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
