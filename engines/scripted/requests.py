"""Request bodies, validated as by vLLM 0.32: unknown fields are ignored, the same values are refused."""

import json
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from engines.scripted.connection import Request
from engines.scripted.constraints import Constraint, ResponseFormat, StructuredOutputs, constraint_of
from engines.scripted.errors import BadRequest, MalformedRequest, RoutingError
from engines.scripted.messages import ChatMessage
from engines.scripted.tools import Tool, ToolChoice, check_tool_choice

_CACHE_SALT_CHARACTERS: Final = 128
_REPORTED_ERRORS: Final = 10
_BRANCHES: Final = frozenset({"str", "int", "TokenizePrompt", "TokenizeChat"})


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class StreamOptions(Body):
    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class GenerationRequest(Body):
    """The fields that chat and plain completions share."""

    model: str | None = None
    max_tokens: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stream_interval: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    min_tokens: int = 0
    seed: int | None = None
    n: int | None = 1
    priority: int = 0
    echo: bool | None = False
    return_token_ids: bool | None = None
    request_id: str | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatRequest(GenerationRequest):
    messages: list[ChatMessage]
    max_completion_tokens: int | None = None
    logprobs: bool | None = False
    tools: list[Tool] | None = None
    tool_choice: ToolChoice = "none"
    parallel_tool_calls: bool | None = True
    include_reasoning: bool = True
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    return_prompt_text: bool | None = None

    @property
    def can_call_tools(self) -> bool:
        return bool(self.tools) and self.tool_choice != "none"

    def constraint(self) -> Constraint:
        return constraint_of(self.tools or (), self.tool_choice, self.response_format, self.structured_outputs)


class CompletionRequest(GenerationRequest):
    prompt: list[Annotated[int, Field(ge=0)]] | list[list[Annotated[int, Field(ge=0)]]] | str | list[str]
    logprobs: int | None = None

    def constraint(self) -> Constraint:
        return constraint_of((), None, self.response_format, self.structured_outputs)


class TokenizePrompt(Body):
    model: str | None = None
    prompt: str
    return_token_strs: bool | None = False


class TokenizeChat(Body):
    model: str | None = None
    messages: list[ChatMessage]
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    tools: list[Tool] | None = None
    return_token_strs: bool | None = False


class TokenizeEither(RootModel[TokenizePrompt | TokenizeChat]):
    """With both `messages` and `prompt`, the messages win; without either, the error names both."""

    model_config = ConfigDict(frozen=True)


class DetokenizeRequest(Body):
    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0)]]


AnyBody = TypeVar("AnyBody", bound=BaseModel)


def read_body(request: Request, shape: type[AnyBody]) -> AnyBody:
    content_type = request.headers.get("content-type", "").lower()
    if content_type.partition(";")[0] != "application/json":
        raise _malformed(["Unsupported Media Type: Only 'application/json' is allowed"])
    data = _read_json(request.body)
    if isinstance(data, dict):
        _check_combinations(data, shape)
    try:
        return shape.model_validate(data, from_attributes=True)
    except ValidationError as exc:
        raise _malformed([dict(error) for error in exc.errors(include_url=False)]) from exc


def read_tokenize(request: Request) -> TokenizeChat | TokenizePrompt:
    return read_body(request, TokenizeEither).root


def _read_json(raw: bytes) -> Any:
    if not raw:
        raise _malformed([{"type": "missing", "loc": (), "msg": "Field required", "input": None}])
    try:
        return json.loads(raw)
    except json.JSONDecodeError as exc:
        error = {"type": "json_invalid", "loc": (exc.pos,), "msg": "JSON decode error", "input": {}}
        raise _malformed([error | {"ctx": {"error": exc.msg}}]) from exc
    except UnicodeDecodeError as exc:
        raise RoutingError(400, "There was an error parsing the body") from exc


def _check_combinations(data: dict[str, Any], shape: type[BaseModel]) -> None:
    if data.get("stream_options") and not data.get("stream"):
        raise BadRequest("Stream options can only be defined when `stream=True`.", param="stream_options")
    if data.get("continue_final_message") and data.get("add_generation_prompt"):
        raise BadRequest("Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
    if shape is CompletionRequest and data.get("prompt") in (None, ""):
        raise BadRequest("Either prompt or prompt_embeds must be provided and non-empty.", param="prompt")
    _check_cache_salt(data.get("cache_salt"))
    if shape is ChatRequest:
        _check_response_format(data.get("response_format"))
        check_tool_choice(data)


def _check_response_format(value: object) -> None:
    if isinstance(value, dict) and value.get("type") == "json_schema" and value.get("json_schema") is None:
        message = "When response_format type is 'json_schema', the 'json_schema' field must be provided."
        raise BadRequest(message, param="response_format")


def _check_cache_salt(salt: object) -> None:
    if salt is None:
        return
    if not isinstance(salt, str) or not salt:
        message = "Parameter 'cache_salt' must be a non-empty string if provided."
        raise BadRequest(message, param="cache_salt")
    if len(salt) > _CACHE_SALT_CHARACTERS or set(salt) & set("@/\\\0"):
        message = "must be at most 128 characters and must not contain '@', '/', '\\\\', or NUL."
        raise BadRequest(f"Parameter 'cache_salt' {message}", param="cache_salt")


def _malformed(errors: list[Any]) -> MalformedRequest:
    label = "error" if len(errors) == 1 else "errors"
    lines = [f"  {_described(error)}" for error in errors[:_REPORTED_ERRORS]]
    if len(errors) > _REPORTED_ERRORS:
        lines.append(f"  ...and {len(errors) - _REPORTED_ERRORS} more {label}")
    param = _dotted(errors[0]["loc"]) if isinstance(errors[0], dict) else None
    return MalformedRequest("\n".join([f"{len(errors)} validation {label}:", *lines]), param=param)


def _described(error: Any) -> object:
    if not isinstance(error, dict):
        return error
    value = error["input"]
    sized = isinstance(value, (list, tuple, dict))
    shown = f"<{type(value).__name__} of {len(value)} items>" if sized else str(value)[:200]
    return error | {"loc": _dotted(error["loc"]), "input": shown}


def _dotted(loc: tuple[str | int, ...]) -> str:
    """Without the union branches that pydantic names between the fields."""
    fields = (str(part) for part in loc)
    return ".".join(["body", *(field for field in fields if "[" not in field and field not in _BRANCHES)])
