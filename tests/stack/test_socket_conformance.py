"""Conformance to Open Responses' WebSocket mode, through nginx."""

import asyncio
import json
from typing import Any

import pytest

from tests.contract import conformance
from tests.contract.conformance import Wire
from tests.stack.conftest import Deployment
from tests.stack.strict_client import completed, continued, create, http, message, posted, refused, text_of


@pytest.mark.parametrize("text", ["Count from 1 to 3.", [message("user", "Count from 1 to 3.")]])
async def test_an_answer_over_a_socket_has_every_event(deployment: Deployment, text: object) -> None:
    async with deployment.socket(deployment.alice) as socket:
        assert text_of(await continued(socket, input=text))


async def test_an_image_is_refused_and_the_socket_stays_open(deployment: Deployment) -> None:
    image = message("user", [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}])
    async with deployment.socket(deployment.alice) as socket:
        assert await refused(socket, input=[image]) == "unsupported_content"
        await continued(socket, input="hello")


async def test_a_new_chain_can_start_with_a_compaction(deployment: Deployment) -> None:
    said = message("user", [{"type": "input_text", "text": "The word is slate."}])
    replied = message("assistant", [{"type": "output_text", "text": "OK."}])
    async with http(deployment) as api:
        window = (await posted(api, "/responses/compact", input=[said, replied]))["output"]
    async with deployment.socket(deployment.alice) as socket:
        await continued(socket, input=[*window, message("user", "Go on.")], store=False, tools=[])
    assert "slate" in json.dumps(deployment.prompts()[-1])


async def test_a_socket_answers_its_requests_in_order(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        for asked in ("first", "second"):
            whole = await continued(socket, input=asked, store=False)
            assert (whole["store"], asked in text_of(whole)) == (False, True)


async def test_a_socket_keeps_unstored_answers(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        first = await continued(socket, input="The word is cobalt.", store=False)
        await continued(socket, input="What is the word?", store=False, previous_response_id=first["id"])
    assert [one["content"] for one in deployment.prompts()[-1]][-3:] == [
        "The word is cobalt.",
        text_of(first),
        "What is the word?",
    ]


async def test_another_socket_does_not_have_unstored_answers(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        first = await continued(socket, input="The word is copper.", store=False)
    async with deployment.socket(deployment.alice) as socket:
        gone: Wire = {"input": "Go on.", "store": False, "previous_response_id": first["id"]}
        assert await refused(socket, **gone) == "previous_response_not_found"
        await continued(socket, input="A new start.", store=False)


async def test_an_unknown_previous_response_is_refused(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        (only,) = await create(socket, input="hello", store=False, previous_response_id="resp_of_another_server")
    error = conformance.refusal(only)
    assert (only["status"], error.code, error.param) == (400, "previous_response_not_found", "previous_response_id")


async def test_a_failed_continuation_drops_the_unstored_answer(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        first = await continued(socket, input="The word is ember.", store=False)
        again: Wire = {"store": False, "previous_response_id": first["id"]}
        unasked = {"type": "function_call_output", "call_id": "call_nobody_made", "output": "none"}
        assert await refused(socket, input=[unasked], **again) != "previous_response_not_found"
        assert await refused(socket, input="Go on.", **again) == "previous_response_not_found"


async def test_an_invalid_continuation_drops_the_unstored_answer_too(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        first = await continued(socket, input="The word is ember.", store=False)
        again: Wire = {"store": False, "previous_response_id": first["id"]}
        assert await refused(socket, input="Go on.", colour="red", **again) == "unknown_parameter"
        assert await refused(socket, input="Go on.", **again) == "previous_response_not_found"


async def test_a_warm_up_generates_nothing_and_can_be_continued(deployment: Deployment) -> None:
    async with deployment.socket(deployment.alice) as socket:
        events = await create(socket, input="The word is amber.", store=False, generate=False)
        warm = conformance.story(events)
        assert (warm["status"], warm["output"]) == ("completed", [])
        await continued(socket, input="What is the word?", store=False, previous_response_id=warm["id"])
    assert deployment.prompts()[-1][-1]["content"] == "The word is amber.\n\nWhat is the word?"


async def test_a_client_that_sends_all_requests_at_once_is_answered(deployment: Deployment) -> None:
    async def over_a_socket(number: int) -> Any:
        async with deployment.socket(deployment.alice) as socket:
            return await continued(socket, input=f"socket {number}", store=False)

    async with http(deployment) as api:
        whole = (completed(api, input=f"question {number}") for number in range(9))
        await asyncio.gather(*whole, *(over_a_socket(number) for number in range(8)))
