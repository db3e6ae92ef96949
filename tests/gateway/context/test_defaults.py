from typing import Any

import pytest

from gateway.context.defaults import Defaults, output_options
from gateway.inference import OutputOptions, Sampling
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import Generation
from gateway.protocol.tools import FunctionTool, JsonObject, ReasoningConfig, TextConfig

DEPLOYMENT = Defaults("be kind", Sampling(0.45, 0.9, 1.2, 10240))
CONVERSATION = Generation(temperature=1.0, top_p=0.8, repetition_penalty=1.1, max_output_tokens=100)


def sampled(conversation: Generation = CONVERSATION, **fields: Any) -> Sampling:
    return DEPLOYMENT.resolve(ResponseCreate(**fields), conversation)


def test_without_other_parameters_the_deployments_apply() -> None:
    assert sampled(Generation()) == DEPLOYMENT.sampling


def test_a_conversations_parameters_override_the_deployments() -> None:
    assert sampled() == Sampling(1.0, 0.8, 1.1, 100)


def test_a_requests_parameters_override_both() -> None:
    sampling = sampled(temperature=0.5, top_p=0.6, repetition_penalty=1.0, max_output_tokens=7)
    assert sampling == Sampling(0.5, 0.6, 1.0, 7)


@pytest.mark.parametrize("name", ["temperature", "presence_penalty", "frequency_penalty"])
def test_zero_is_a_value(name: str) -> None:
    fields: dict[str, Any] = {name: 0.0}
    assert getattr(sampled(**fields), name) == 0.0


def test_penalties_come_from_the_request_only() -> None:
    sampling = sampled(presence_penalty=0.3, frequency_penalty=-0.2)
    assert (sampling.presence_penalty, sampling.frequency_penalty) == (0.3, -0.2)


def test_without_any_maximum_the_engine_bounds_the_answer() -> None:
    unbounded = Defaults("", Sampling(0.45, 0.9, 1.2, None))
    assert unbounded.resolve(ResponseCreate(), Generation()).max_output_tokens is None


def test_a_plain_request_has_plain_output_options() -> None:
    assert output_options(ResponseCreate(input="hi")) == OutputOptions()


def test_output_options_are_taken_from_the_request() -> None:
    tools = (FunctionTool("add"),)
    create = ResponseCreate(
        tools=tools,
        tool_choice="required",
        parallel_tool_calls=False,
        text=TextConfig(JsonObject()),
        reasoning=ReasoningConfig("low"),
    )
    assert output_options(create) == OutputOptions(tools, "required", False, JsonObject(), "low")
