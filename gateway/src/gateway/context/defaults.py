"""Generation parameters of a request: its own, else its conversation's, else the deployment's."""

from dataclasses import dataclass
from typing import TypeVar

from gateway.inference import OutputOptions, Sampling
from gateway.protocol.chat_completions import ChatCompletion
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import Generation
from gateway.protocol.tools import PlainText

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Defaults:
    system_prompt: str
    sampling: Sampling

    def resolve(self, create: ResponseCreate | ChatCompletion, conversation: Generation) -> Sampling:
        deployment = self.sampling
        return Sampling(
            temperature=_first(create.temperature, conversation.temperature, deployment.temperature),
            top_p=_first(create.top_p, conversation.top_p, deployment.top_p),
            repetition_penalty=_first(
                create.repetition_penalty, conversation.repetition_penalty, deployment.repetition_penalty
            ),
            max_output_tokens=create.max_output_tokens
            or conversation.max_output_tokens
            or deployment.max_output_tokens,
            presence_penalty=_first(create.presence_penalty, None, deployment.presence_penalty),
            frequency_penalty=_first(create.frequency_penalty, None, deployment.frequency_penalty),
        )


def output_options(create: ResponseCreate) -> OutputOptions:
    return OutputOptions(
        tools=create.tools or (),
        tool_choice=create.tool_choice or "auto",
        parallel_tool_calls=create.parallel_tool_calls is not False,
        format=(create.text and create.text.format) or PlainText(),
        reasoning_effort=create.reasoning.effort if create.reasoning else None,
    )


def _first(asked: T | None, conversation: T | None, deployment: T) -> T:
    if asked is not None:
        return asked
    return deployment if conversation is None else conversation
