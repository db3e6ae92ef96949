"""The items of a conversation, as they are stored and returned."""

from typing import Literal

import msgspec

MessageRole = Literal["user", "assistant", "system", "developer"]
Phase = Literal["commentary", "final_answer"]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text", forbid_unknown_fields=True):
    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text", forbid_unknown_fields=True):
    text: str
    annotations: tuple[()] = ()
    logprobs: tuple[()] = ()


class ReasoningText(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning_text", forbid_unknown_fields=True):
    text: str


class SummaryText(msgspec.Struct, frozen=True, tag_field="type", tag="summary_text", forbid_unknown_fields=True):
    text: str


class Message(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    id: str
    role: MessageRole
    status: ItemStatus
    content: tuple[InputText | OutputText, ...]
    phase: Phase | msgspec.UnsetType = msgspec.UNSET

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content)


class FunctionCall(msgspec.Struct, frozen=True, tag_field="type", tag="function_call"):
    """`arguments` is JSON text, as the model generated it."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


class FunctionCallOutput(msgspec.Struct, frozen=True, tag_field="type", tag="function_call_output"):
    id: str
    call_id: str
    output: str
    status: ItemStatus


class Reasoning(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning"):
    """The model's reasoning before its answer. It is returned and stored, and never sent to a model again."""

    id: str
    status: ItemStatus
    summary: tuple[()] = ()
    content: tuple[ReasoningText, ...] = ()


class Compaction(msgspec.Struct, frozen=True, tag_field="type", tag="compaction"):
    """A compacted conversation; only the server that encrypted it can read it."""

    id: str
    encrypted_content: str


Item = Message | FunctionCall | FunctionCallOutput | Reasoning | Compaction
OutputItem = Message | FunctionCall | Reasoning

encode_item = msgspec.json.Encoder().encode
decode_item = msgspec.json.Decoder(Item).decode


def text_of(item: Item) -> str:
    """The text of a message, empty for other items."""
    return item.text if isinstance(item, Message) else ""


def introduces(item: Item) -> bool:
    """Whether it gives the model context instead of a question, as items at the start of a conversation do."""
    return isinstance(item, Compaction) or (isinstance(item, Message) and item.role in ("system", "developer"))
