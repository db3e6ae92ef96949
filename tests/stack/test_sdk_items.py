"""Inputs and outputs of answers with the stock OpenAI Python SDK: chains, calls, schemas, reasoning."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from openai.types.responses import FunctionToolParam, ResponseInputParam
from pydantic import BaseModel

from tests.stack.conftest import Deployment
from tests.stack.strict_client import MODEL


class Weather(BaseModel):
    """The weather of a place."""

    place: str


class Lighthouse(BaseModel):
    name: str
    metres: int


WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "Weather",
    "description": "The weather of a place",
    "parameters": {
        "type": "object",
        "properties": {"place": {"type": "string"}},
        "required": ["place"],
        "additionalProperties": False,
    },
    "strict": True,
}
CALLING = 'How is it there? [[call=Weather args={"place":"青岛"}]]'
SCHEMA = '[[text={"name":"Pharos","metres":100}]]'


@pytest.fixture
def client(deployment: Deployment) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{deployment.stack.url}/v1", api_key=deployment.alice, max_retries=0) as client:
        yield client


@pytest.fixture
async def alice(deployment: Deployment) -> AsyncIterator[AsyncOpenAI]:
    async with deployment.client(deployment.alice) as client:
        yield client


def last_prompt(deployment: Deployment) -> list[tuple[str, Any]]:
    """The last prompt of the model, without the system prompt."""
    return [(one["role"], one["content"]) for one in deployment.prompts()[-1][1:]]


def test_a_chain_of_answers_and_a_fork_in_its_middle(client: OpenAI, deployment: Deployment) -> None:
    def ask(text: str, previous: str | None) -> str:
        return client.responses.create(model=MODEL, input=text, previous_response_id=previous).id

    first = ask("[[text=one]] a", None)
    second = ask("[[text=two]] b", first)
    ask("[[text=three]] c", second)
    said = [("user", "[[text=one]] a"), ("assistant", "one"), ("user", "[[text=two]] b"), ("assistant", "two")]
    assert last_prompt(deployment) == [*said, ("user", "[[text=three]] c")]
    fork = ask("[[text=four]] d", first)
    assert last_prompt(deployment) == [*said[:2], ("user", "[[text=four]] d")]
    ask("[[text=five]] e", fork)
    assert last_prompt(deployment) == [
        *said[:2],
        ("user", "[[text=four]] d"),
        ("assistant", "four"),
        ("user", "[[text=five]] e"),
    ]
    ask("[[text=six]] f", second)
    assert last_prompt(deployment) == [*said, ("user", "[[text=six]] f")]


async def test_a_chain_continues_when_an_answer_in_its_middle_is_deleted(
    alice: AsyncOpenAI, deployment: Deployment
) -> None:
    first = await alice.responses.create(model=MODEL, input="[[text=one]] a")
    second = await alice.responses.create(model=MODEL, input="[[text=two]] b", previous_response_id=first.id)
    await alice.responses.delete(first.id)
    await alice.responses.create(model=MODEL, input="c", previous_response_id=second.id)
    assert last_prompt(deployment) == [("user", "[[text=two]] b"), ("assistant", "two"), ("user", "c")]


async def test_instructions_apply_to_one_answer_only(alice: AsyncOpenAI, deployment: Deployment) -> None:
    first = await alice.responses.create(model=MODEL, input="a", instructions="Talk like a pirate.")
    assert first.instructions == "Talk like a pirate."
    assert deployment.prompts()[-1][0] == {"role": "system", "content": "Talk like a pirate."}
    await alice.responses.create(model=MODEL, input="b", previous_response_id=first.id)
    assert "pirate" not in json.dumps(deployment.prompts()[-1])


async def test_a_conversation_from_creation_to_deletion(alice: AsyncOpenAI) -> None:
    conversation = await alice.conversations.create(metadata={"topic": "harbours"})
    answer = await alice.responses.create(model=MODEL, input="[[text=hello]]", conversation=conversation.id)
    assert answer.conversation is not None
    assert answer.conversation.id == conversation.id
    items = [item async for item in alice.conversations.items.list(conversation.id, order="asc")]
    assert [item.type for item in items] == ["message", "message"]
    assert items[1].to_dict() == answer.output[0].to_dict()
    await alice.conversations.delete(conversation.id)


def test_request_parameters_are_returned_in_the_answer(client: OpenAI) -> None:
    answer = client.responses.create(
        model=MODEL, input="hi", temperature=0.1, top_p=0.8, metadata={"trip": "7"}, truncation="auto"
    )
    assert (answer.temperature, answer.top_p, answer.metadata, answer.truncation) == (0.1, 0.8, {"trip": "7"}, "auto")
    assert (answer.model, answer.tools, answer.tool_choice, answer.service_tier) == (MODEL, [], "auto", "default")


def test_an_answer_that_is_too_long_is_incomplete(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input="[[tokens=100]]", max_output_tokens=16)
    assert (answer.status, answer.max_output_tokens) == ("incomplete", 16)
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 16
    assert answer.output_text != ""
    with client.responses.stream(model=MODEL, input="[[tokens=100]]", max_output_tokens=16) as stream:
        last = list(stream)[-1]
        assert last.type == "response.incomplete"
        assert last.response.output_text == answer.output_text
        with pytest.raises(RuntimeError, match=r"response\.completed"):
            stream.get_final_response()


def test_a_function_is_called_and_its_output_is_in_the_answer(client: OpenAI, deployment: Deployment) -> None:
    asked = client.responses.create(model=MODEL, input=CALLING, tools=[WEATHER])
    (call,) = asked.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments), asked.output_text) == ("Weather", {"place": "青岛"}, "")
    answer = client.responses.create(
        model=MODEL,
        previous_response_id=asked.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "[[text=Fog.]] fog"}],
        tools=[WEATHER],
    )
    assert answer.output_text == "Fog."
    assert [role for role, _ in last_prompt(deployment)] == ["user", "assistant", "tool"]


async def test_output_items_can_be_sent_back_unchanged(alice: AsyncOpenAI, deployment: Deployment) -> None:
    history: ResponseInputParam = [{"role": "user", "content": f"{CALLING[:-2]} reasoning=It is on the coast.]]"}]
    asked = await alice.responses.create(model=MODEL, input=history, tools=[WEATHER], store=False)
    assert [item.type for item in asked.output] == ["reasoning", "function_call"]
    history += asked.output  # type: ignore[arg-type]
    call = asked.output[1]
    assert call.type == "function_call"
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "[[text=Fog.]]"})
    answer = await alice.responses.create(model=MODEL, input=history, tools=[WEATHER], store=False)
    assert answer.output_text == "Fog."
    assert [role for role, _ in last_prompt(deployment)] == ["user", "assistant", "tool"]


async def test_a_streamed_call_is_parsed_by_the_helper(alice: AsyncOpenAI) -> None:
    tool = pydantic_function_tool(Weather)
    async with alice.responses.stream(model=MODEL, input=CALLING, tools=[tool]) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    pieces = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert json.loads(pieces[-1].snapshot) == {"place": "青岛"}
    (call,) = final.output
    assert call.type == "function_call"
    assert call.parsed_arguments == Weather(place="青岛")


def test_a_call_can_be_required_or_forbidden(client: OpenAI) -> None:
    demanded = client.responses.create(
        model=MODEL, input="hi", tools=[WEATHER], tool_choice={"type": "function", "name": "Weather"}
    )
    assert [item.type for item in demanded.output] == ["function_call"]
    forbidden = client.responses.create(model=MODEL, input="[[text=no]]", tools=[WEATHER], tool_choice="none")
    assert forbidden.output_text == "no"


def test_an_answer_constrained_to_a_schema_is_parsed(client: OpenAI) -> None:
    answer = client.responses.parse(model=MODEL, input=SCHEMA, text_format=Lighthouse)
    assert answer.output_parsed == Lighthouse(name="Pharos", metres=100)


async def test_an_answer_constrained_to_a_schema_is_parsed_asynchronously(alice: AsyncOpenAI) -> None:
    answer = await alice.responses.parse(model=MODEL, input=SCHEMA, text_format=Lighthouse)
    assert answer.output_parsed == Lighthouse(name="Pharos", metres=100)
    async with alice.responses.stream(model=MODEL, input=SCHEMA, text_format=Lighthouse) as stream:
        assert (await stream.get_final_response()).output_parsed == answer.output_parsed


async def test_reasoning_is_an_item_before_the_answer(alice: AsyncOpenAI) -> None:
    async with alice.responses.stream(model=MODEL, input="[[reasoning=Let me see. text=Yes.]]") as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    thoughts = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    thought, message = final.output
    assert thought.type == "reasoning"
    assert thought.content is not None
    assert (thoughts.strip(), message.type, final.output_text) == ("Let me see.", "message", "Yes.")
    assert thought.content[0].text == thoughts


# The SDK's type for output items lacks the user's message, which OpenAI's compactions contain as well.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_a_new_chain_can_start_with_a_compaction(alice: AsyncOpenAI, deployment: Deployment) -> None:
    first = await alice.responses.create(model=MODEL, input="[[text=noted]] The word is sorrel.")
    compacted = await alice.responses.compact(model=MODEL, previous_response_id=first.id)
    assert [item.type for item in compacted.output] == ["message", "compaction"]
    question = {"role": "user", "content": "[[text=sorrel]] Which?"}
    answer = await alice.responses.create(model=MODEL, input=[*compacted.output, question])  # type: ignore[list-item]
    assert answer.output_text == "sorrel"
    assert "The word is sorrel." in json.dumps(last_prompt(deployment))


async def test_a_prompts_token_count_equals_that_of_its_answer(alice: AsyncOpenAI) -> None:
    asked: dict[str, Any] = {"model": MODEL, "input": "How is it there? [[text=fine]]", "tools": [WEATHER]}
    counted = await alice.responses.input_tokens.count(**asked)
    answer = await alice.responses.create(**asked)
    assert answer.usage is not None
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", answer.usage.input_tokens)
