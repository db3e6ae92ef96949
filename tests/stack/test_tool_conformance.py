"""Function tools and reasoning in the form of Open Responses, over HTTP and SSE, through nginx."""

import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.contract import conformance
from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment
from tests.stack.strict_client import MODEL, WEATHER, completed, continued, http, message, streamed, text_of

CALLING = 'How is it there? [[call=get_weather args={"place":"Qingdao"}]]'


@pytest.fixture
async def api(deployment: Deployment) -> AsyncIterator[httpx2.AsyncClient]:
    async with http(deployment) as client:
        yield client


def call_of(whole: Wire) -> Wire:
    (call,) = (one for one in whole["output"] if one["type"] == "function_call")
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"place": "Qingdao"})
    found: Wire = call
    return found


async def test_a_call_is_an_item_of_the_answer(api: httpx2.AsyncClient) -> None:
    whole = await completed(api, input=CALLING, tools=[WEATHER])
    assert call_of(whole)["status"] == "completed"
    assert whole["tools"] == [{**WEATHER, "strict": None}]


async def test_a_streamed_call_has_every_event(api: httpx2.AsyncClient) -> None:
    events = await streamed(api, input=CALLING, tools=[WEATHER])
    call = call_of(conformance.story(events))
    added = next(one["item"] for one in events if one.get("item", {}).get("type") == "function_call")
    assert added == {**call, "arguments": "", "status": "in_progress"}


async def test_a_call_over_a_socket_has_every_event(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        call_of(await continued(socket, input=CALLING, tools=[WEATHER], store=False))


async def test_a_chosen_function_is_called(api: httpx2.AsyncClient) -> None:
    choice = {"type": "function", "name": "get_weather"}
    whole = await completed(api, input="hello", tools=[WEATHER], tool_choice=choice)
    assert [one["type"] for one in whole["output"]] == ["function_call"]
    assert whole["tool_choice"] == choice


@pytest.mark.parametrize("stored", [True, False])
async def test_a_functions_output_reaches_the_model(
    api: httpx2.AsyncClient, deployment: Deployment, stored: bool
) -> None:
    first = await completed(api, input=CALLING, tools=[WEATHER], store=stored)
    returned = {"type": "function_call_output", "call_id": call_of(first)["call_id"], "output": "fog"}
    before: Wire = {"previous_response_id": first["id"], "input": [returned]}
    if not stored:
        before = {"input": [message("user", CALLING), *first["output"], returned], "store": False}
    assert text_of(await completed(api, tools=[WEATHER], **before))
    assert [one["role"] for one in deployment.prompts()[-1]][-2:] == ["assistant", "tool"]
    assert deployment.prompts()[-1][-1]["content"] == "fog"


async def test_the_output_of_an_unknown_call_is_refused(api: httpx2.AsyncClient) -> None:
    first = await completed(api, input="hello")
    returned = {"type": "function_call_output", "call_id": "call_nobody_made", "output": "fog"}
    body = {"model": MODEL, "previous_response_id": first["id"], "input": [returned]}
    answer = await api.post("/responses", json=body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_reasoning_is_an_item_before_the_answer(api: httpx2.AsyncClient) -> None:
    whole = await completed(api, input="[[reasoning=perhaps text=yes]]")
    assert [one["type"] for one in whole["output"]] == ["reasoning", "message"]
    assert text_of(whole) == "yes"
