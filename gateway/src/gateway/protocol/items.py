"""Items: what a conversation consists of, as they are stored and shown."""

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
    """`arguments` is a JSON text, as the model wrote it."""

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
    """What the model thought before it spoke. It is shown and kept, and never sent to a model again."""

    id: str
    status: ItemStatus
    summary: tuple[()] = ()
    content: tuple[ReasoningText, ...] = ()


class Compaction(msgspec.Struct, frozen=True, tag_field="type", tag="compaction"):
    """A conversation in short; only the server that sealed it can read it."""

    id: str
    encrypted_content: str


Item = Message | FunctionCall | FunctionCallOutput | Reasoning | Compaction
OutputItem = Message | FunctionCall | Reasoning

encode_item = msgspec.json.Encoder().encode
decode_item = msgspec.json.Decoder(Item).decode


def text_of(item: Item) -> str:
    """What a reader of the conversation sees of it, empty for what is not text."""
    return item.text if isinstance(item, Message) else ""


def introduces(item: Item) -> bool:
    """Whether it tells the model something, instead of asking: what a conversation may begin with."""
    return isinstance(item, Compaction) or (isinstance(item, Message) and item.role in ("system", "developer"))
