"""Resources of the wire: responses, messages, conversations, lists. Times are Unix seconds, counts are tokens."""

from typing import Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

MessageRole = Literal["user", "assistant", "system", "developer"]
MessageStatus = Literal["in_progress", "completed", "incomplete"]
Truncation = Literal["auto", "disabled"]
ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed"]


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text", forbid_unknown_fields=True):
    text: str


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text", forbid_unknown_fields=True):
    text: str
    annotations: tuple[()] = ()
    logprobs: tuple[()] = ()


Content = InputText | OutputText


class Message(msgspec.Struct, frozen=True, tag_field="type", tag="message"):
    id: str
    role: MessageRole
    status: MessageStatus
    content: tuple[Content, ...]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.content)


class IncompleteDetails(msgspec.Struct, frozen=True):
    reason: Literal["max_output_tokens", "cancelled"]


class ErrorDetails(msgspec.Struct, frozen=True):
    code: str
    message: str


class InputTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()


class TextFormat(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    pass


class TextConfig(msgspec.Struct, frozen=True):
    format: TextFormat = TextFormat()


class ConversationReference(msgspec.Struct, frozen=True):
    id: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. All 31 keys of the specification are always present, `null` where they do not apply;
    `conversation` is OpenAI's own addition."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    incomplete_details: IncompleteDetails | None = None
    model: str
    previous_response_id: str | None = None
    instructions: str | None = None
    output: tuple[Message, ...] = ()
    error: ErrorDetails | None = None
    tools: tuple[()] = ()
    tool_choice: Literal["auto"] = "auto"
    truncation: Truncation
    parallel_tool_calls: bool = True
    text: TextConfig = TextConfig()
    top_p: float
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    temperature: float
    reasoning: None = None
    usage: Usage | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    store: bool = True
    background: bool = False
    service_tier: str = "default"
    metadata: dict[str, str] = {}
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    conversation: ConversationReference | None = None


class Conversation(msgspec.Struct, frozen=True):
    id: str
    created_at: int
    metadata: dict[str, str]
    object: Literal["conversation"] = "conversation"


class Page(msgspec.Struct, Generic[T], frozen=True):
    """OpenAI's list shape."""

    data: tuple[T, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


encoded = msgspec.json.Encoder().encode
"""A resource as the body of an answer."""
