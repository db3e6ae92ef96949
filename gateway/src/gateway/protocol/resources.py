"""Resources of the API: responses, conversations, lists. Times are Unix seconds, counts are tokens."""

from typing import Generic, Literal, TypeVar

import msgspec

from gateway.protocol.items import Item, OutputItem
from gateway.protocol.limits import OutputTokens, RepetitionPenalty, Temperature, TopP
from gateway.protocol.tools import FunctionTool, ReasoningConfig, TextConfig, ToolChoice

T = TypeVar("T")

Order = Literal["asc", "desc"]
Truncation = Literal["auto", "disabled"]
ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed"]
TERMINAL: frozenset[ResponseStatus] = frozenset({"completed", "incomplete", "failed"})


class IncompleteDetails(msgspec.Struct, frozen=True):
    """`stopped_in_ms` is an addition: the time from the cancel request until the engine's stream was closed."""

    reason: Literal["max_output_tokens", "cancelled"]
    stopped_in_ms: int | msgspec.UnsetType = msgspec.UNSET


class ErrorDetails(msgspec.Struct, frozen=True):
    code: str
    message: str


class InputTokensDetails(msgspec.Struct, frozen=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputTokensDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int = 0


class Usage(msgspec.Struct, frozen=True):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputTokensDetails = InputTokensDetails()
    output_tokens_details: OutputTokensDetails = OutputTokensDetails()


class WindowUse(msgspec.Struct, frozen=True):
    """An addition: how much of the conversation the model received. `input_tokens` is null if the last usage already
    proved that there is room, or if the engine cannot count; `context_tokens` is the size of the context window."""

    items_left_out: int
    input_tokens: int | None
    context_tokens: int | None


class ConversationReference(msgspec.Struct, frozen=True):
    id: str


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """One response. All 31 keys of the specification are always present, `null` where they do not apply;
    `conversation` is OpenAI's own addition, `repetition_penalty` and `window` are Parley's."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None = None
    status: ResponseStatus
    incomplete_details: IncompleteDetails | None = None
    model: str
    previous_response_id: str | None = None
    instructions: str | None = None
    output: tuple[OutputItem, ...] = ()
    error: ErrorDetails | None = None
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = "auto"
    truncation: Truncation
    parallel_tool_calls: bool = True
    text: TextConfig = TextConfig()
    top_p: float
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    top_logprobs: int = 0
    temperature: float
    reasoning: ReasoningConfig | None = None
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
    repetition_penalty: float
    window: WindowUse | None = None


class Generation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An addition: a conversation's own defaults. A request overrides them; they override the deployment's."""

    instructions: str | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    repetition_penalty: RepetitionPenalty | None = None
    max_output_tokens: OutputTokens | None = None


class Conversation(msgspec.Struct, frozen=True):
    """`generation`, `last_active_at` and `active_responses` (the ids of its running responses) are additions."""

    id: str
    created_at: int
    metadata: dict[str, str]
    object: Literal["conversation"] = "conversation"
    generation: Generation = Generation()
    last_active_at: int | None = None
    active_responses: tuple[str, ...] = ()


class Deleted(msgspec.Struct, frozen=True):
    id: str
    object: Literal["response", "conversation.deleted"]
    deleted: Literal[True] = True


class CompactedResponse(msgspec.Struct, frozen=True):
    id: str
    created_at: int
    output: tuple[Item, ...]
    usage: Usage
    object: Literal["response.compaction"] = "response.compaction"


class InputTokens(msgspec.Struct, frozen=True):
    input_tokens: int
    object: Literal["response.input_tokens"] = "response.input_tokens"


class Page(msgspec.Struct, Generic[T], frozen=True):
    """OpenAI's list object."""

    data: tuple[T, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


class ItemPage(Page[Item], frozen=True):
    @classmethod
    def of(cls, items: tuple[Item, ...], *, has_more: bool = False) -> "ItemPage":
        return cls(items, items[0].id if items else None, items[-1].id if items else None, has_more)


class ConversationPage(Page[Conversation], frozen=True):
    """`next_after` is an addition: the `after` of the next page, null on the last one."""

    next_after: str | None = None


encoded = msgspec.json.Encoder().encode
"""Encodes a resource as the body of an HTTP response."""

decode_response = msgspec.json.Decoder(Response).decode
