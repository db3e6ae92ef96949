from typing import Any

import pytest

from gateway.context.defaults import Defaults, output_options
from gateway.inference import OutputOptions, Sampling
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import Generation
from gateway.protocol.tools import FunctionTool, JsonObject, ReasoningConfig, TextConfig

DEPLOYMENT = Defaults("be kind", Sampling(0.45, 0.9, 1.2, 10240))
CONVERSATION = Generation(temperature=1.0, top_p=0.8, repetition_penalty=1.1, max_output_tokens=100)


def sampled(conversation: Generation = CONVERSATION, **asked: Any) -> Sampling:
    return DEPLOYMENT.resolve(ResponseCreate(**asked), conversation)


def test_who_says_nothing_gets_the_deployments_own() -> None:
    assert sampled(Generation()) == DEPLOYMENT.sampling


def test_a_conversations_own_stand_above_the_deployments() -> None:
    assert sampled() == Sampling(1.0, 0.8, 1.1, 100)


def test_a_request_stands_above_both() -> None:
    sampling = sampled(temperature=0.5, top_p=0.6, repetition_penalty=1.0, max_output_tokens=7)
    assert sampling == Sampling(0.5, 0.6, 1.0, 7)


@pytest.mark.parametrize("name", ["temperature", "presence_penalty", "frequency_penalty"])
def test_zero_is_a_value_and_not_nothing(name: str) -> None:
    asked: dict[str, Any] = {name: 0.0}
    assert getattr(sampled(**asked), name) == 0.0


def test_penalties_are_the_requests_alone() -> None:
    sampling = sampled(presence_penalty=0.3, frequency_penalty=-0.2)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.3, -0.2)


def test_where_nobody_bounds_the_answer_the_engine_does() -> None:
    unbounded = Defaults("", Sampling(0.45, 0.9, 1.2, None))
    assert unbounded.resolve(ResponseCreate(), Generation()).max_output_tokens is None


def test_a_plain_request_wants_a_plain_answer() -> None:
    assert output_options(ResponseCreate(input="hi")) == OutputOptions()


def test_what_is_asked_of_the_form_is_taken_over() -> None:
    tools = (FunctionTool("add"),)
    create = ResponseCreate(
        tools=tools,
        tool_choice="required",
        parallel_tool_calls=False,
        text=TextConfig(JsonObject()),
        reasoning=ReasoningConfig("low"),
    )
    assert output_options(create) == OutputOptions(tools, "required", False, JsonObject(), "low")
