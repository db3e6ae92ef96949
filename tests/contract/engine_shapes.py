"""The common behaviour of both engines: not their texts, but the shape of every answer to these requests.

A shape has the key order, nesting, types and the few values that are part of the protocol. Equal neighbours in a
list, and equal events that follow each other in a stream, count once: the engines' tokens differ in number.
"""

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx2

# Their values are part of the protocol; of all other fields only the type is.
_LITERAL: Final = frozenset(
    {"object", "role", "finish_reason", "type", "param", "code", "index", "owned_by", "max_model_len"}
)


@dataclass(frozen=True, slots=True)
class Question:
    name: str
    path: str
    body: Any = None
    method: str = "POST"
    content: bytes | None = None
    content_type: str = "application/json"
    # Sent as the engine's own token ids for this text: each engine has its own vocabulary.
    prompt_as_ids: str | None = None

    def ask(self, client: httpx2.Client) -> httpx2.Response:
        body = self.body
        if self.prompt_as_ids is not None:
            tokens = client.post("/tokenize", json={"prompt": self.prompt_as_ids}).json()["tokens"]
            body = {**body, "prompt": tokens}
        sent = json.dumps(body).encode() if self.content is None and body is not None else self.content
        headers = {"Content-Type": self.content_type, "X-Request-Id": "turn_1-1"}
        return client.request(self.method, self.path, content=sent, headers=headers)


CHAT, PLAIN, TOKENIZE, DETOKENIZE = "/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize"
# A long answer in both engines, so that a small max_tokens ends it.
STORY = [{"role": "user", "content": "讲个故事"}]
STORY_PROMPT = "<|im_start|>user\n讲个故事<|im_end|>\n<|im_start|>assistant\n"
GREETING = [{"role": "user", "content": "你好"}]
WITH_IDS = {"stream": True, "return_token_ids": True}
WITH_USAGE = {"stream": True, "stream_options": {"include_usage": True}}


def _function(name: str, parameter: str, schema: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {parameter: schema}, "required": [parameter]}
    return {"type": "function", "function": {"name": name, "description": "城市 <&>", "parameters": parameters}}


WEATHER = _function("get_weather", "location", {"type": "string", "description": "The city"})
PICK = _function("pick", "unit", {"type": "string", "enum": ["celsius", "fahrenheit"]})
PICK_CHOSEN = {"type": "function", "function": {"name": "pick"}}


def conversation_with_calls() -> list[dict[str, Any]]:
    """Everything that a conversation with tools may contain, and what vLLM repairs in it."""

    def called(*arguments: object) -> list[dict[str, Any]]:
        function = [{"name": "get_weather", "arguments": each} for each in arguments]
        return [{"id": f"call_{n}", "type": "function", "function": each} for n, each in enumerate(function)]

    return [
        *GREETING,
        {"role": "assistant", "content": None, "tool_calls": called('{"location":"巴黎"}')},
        {"role": "tool", "tool_call_id": "call_0", "content": '{"t":21}'},
        {"role": "assistant", "content": "21", "tool_calls": []},
        *GREETING,
        {"role": "assistant", "content": "Let me see.", "tool_calls": called('{"a": ', "[1]", "")},
        {
            "role": "tool",
            "tool_call_id": "call_0",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {"role": "tool", "content": "晴"},
    ]


def chat(**fields: object) -> dict[str, Any]:
    return {"messages": STORY, "temperature": 0, "max_tokens": 20, **fields}


def plain(**fields: object) -> dict[str, Any]:
    return {"prompt": STORY_PROMPT, "temperature": 0, "max_tokens": 20, **fields}


_CHATS: Final[dict[str, Any]] = {
    "whole": chat(),
    "whole with ids": chat(return_token_ids=True),
    "whole to the end": chat(messages=GREETING, max_tokens=400),
    "whole with prompt text": chat(return_prompt_text=True),
    "streamed": chat(stream=True),
    "streamed with ids": chat(**WITH_IDS),
    "streamed to the end": chat(messages=GREETING, max_tokens=400, **WITH_IDS),
    "streamed with usage": chat(**WITH_USAGE),
    "streamed to the end with usage": chat(messages=GREETING, max_tokens=400, **WITH_USAGE, return_token_ids=True),
    "continuous usage": chat(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}),
    "continuous usage without usage": chat(stream=True, stream_options={"continuous_usage_stats": True}),
    "a single token": chat(max_tokens=1, **WITH_IDS),
    "several tokens per event": chat(stream_interval=4, **WITH_IDS),
    "max_completion_tokens": chat(max_completion_tokens=18, **WITH_IDS),
    "no limit": chat(messages=GREETING, max_tokens=None),
    "what the gateway sends": chat(cache_salt="0a" * 32, repetition_penalty=1.2, top_p=0.9, **WITH_IDS),
    "unknown fields": chat(stream=True, colour="red", nested={"a": [1]}),
    "numbers as text": chat(max_tokens="2", temperature="0.5"),
    "priority": chat(priority=5),
    "own request id": chat(request_id="mine"),
    "text in parts": chat(messages=[{"role": "user", "content": [{"type": "text", "text": "讲个故事"}]}]),
    "a developer": chat(messages=[{"role": "developer", "content": "be short"}, *STORY], return_prompt_text=True),
    "no content": chat(messages=[{"role": "user"}], max_tokens=1),
    "wrong model": chat(model="nobody"),
    "no model": chat(model=None),
    "too long": chat(messages=[{"role": "user", "content": "1,2;" * 4000}]),
    "much too long": chat(messages=[{"role": "user", "content": "1,2;" * 40_000}], stream=True),
    "more tokens than the context": chat(max_tokens=5000),
    "more completion tokens than the context": chat(max_completion_tokens=5000),
    "no tokens": chat(max_tokens=0),
    "tokens as a word": chat(max_tokens="many"),
    "half a token": chat(max_tokens=1.5),
    "negative temperature": chat(temperature=-1),
    "hot temperature": chat(temperature=3),
    "worded temperature": chat(temperature="hot"),
    "no top_p": chat(top_p=0),
    "bad top_k": chat(top_k=-2),
    "bad min_p": chat(min_p=2),
    "no repetition penalty": chat(repetition_penalty=0),
    "presence penalty": chat(presence_penalty=3),
    "empty stop": chat(stop=""),
    "stop is a number": chat(stop=5),
    "too many stops": chat(stop=["a", "b", "c", "d", "e"]),
    "no interval": chat(stream_interval=0),
    "salt with a slash": chat(cache_salt="a/b"),
    "empty salt": chat(cache_salt=""),
    "stream options without a stream": chat(stream_options={"include_usage": True}),
    "n is zero": chat(n=0),
    "more min_tokens than max_tokens": chat(min_tokens=99),
    "no messages": chat(messages=[]),
    "messages is a text": chat(messages="story"),
    "messages missing": {"max_tokens": 1},
    "generation prompt and continuation": chat(add_generation_prompt=True, continue_final_message=True),
    "a lone surrogate": chat(messages=[{"role": "user", "content": "a\ud800b"}]),
    "a list": [1],
}

_SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "n": {"type": "integer", "minimum": 1, "maximum": 5}},
    "required": ["city", "n"],
    "additionalProperties": False,
}


def _in_form(schema: object, **fields: object) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return chat(messages=GREETING, max_tokens=200, response_format=form, **fields)


def _with_tools(**fields: object) -> dict[str, Any]:
    return chat(**{"messages": GREETING, "max_tokens": 400, "tools": [PICK], **fields})


_TOOLS: Final[dict[str, Any]] = {
    "nothing to call": _with_tools(),
    "nothing to call, streamed": _with_tools(**WITH_IDS),
    "required": _with_tools(tool_choice="required"),
    "required, streamed": _with_tools(tool_choice="required", **WITH_USAGE),
    "named": _with_tools(tools=[WEATHER, PICK], tool_choice=PICK_CHOSEN),
    "named, streamed": _with_tools(tools=[WEATHER, PICK], tool_choice=PICK_CHOSEN, stream=True),
    "one call at most": _with_tools(tool_choice="required", parallel_tool_calls=False),
    "none": _with_tools(tool_choice="none"),
    "no choice": _with_tools(tool_choice=None),
    "after calls": _with_tools(messages=conversation_with_calls(), max_tokens=1, return_prompt_text=True),
    "a strict tool": _with_tools(tools=[{**PICK, "function": {**PICK["function"], "strict": True}}], max_tokens=1),
    "a bare tool": _with_tools(tools=[{"function": {"name": "f"}, "odd": 1}], return_prompt_text=True),
    "empty": _with_tools(tools=[]),
    "a choice without tools": chat(tool_choice="auto"),
    "no choice without tools": chat(tool_choice="none"),
    "an odd choice": _with_tools(tool_choice="sometimes"),
    "a choice that is not offered": _with_tools(tool_choice={"type": "function", "function": {"name": "x"}}),
    "a choice without a name": _with_tools(tool_choice={"type": "function", "function": {}}),
    "a flat choice": _with_tools(tool_choice={"type": "function", "name": "pick"}),
    "a flat tool": _with_tools(tools=[{"type": "function", "name": "f", "parameters": {}}]),
    "a nameless tool": _with_tools(tools=[{"type": "function", "function": {}}]),
    "another kind of tool": _with_tools(tools=[{"type": "web_search"}]),
    "schema": _in_form(_SCHEMA),
    "schema, streamed": _in_form(_SCHEMA, **WITH_IDS),
    "schema that makes no sense": _in_form({"type": "nonsense"}),
    "schema that makes no sense, streamed": _in_form({"type": "nonsense"}, stream=True),
    "schema that points nowhere": _in_form({"$ref": "#/nowhere"}),
    "schema with nothing to choose": _in_form({"enum": []}),
    "no schema": chat(response_format={"type": "json_schema"}),
    "JSON object": chat(messages=GREETING, max_tokens=1, response_format={"type": "json_object"}),
    "text": chat(response_format={"type": "text"}),
    "structured output": chat(messages=GREETING, max_tokens=200, structured_outputs={"json": _SCHEMA}),
    "a choice of texts": chat(messages=GREETING, structured_outputs={"choice": ["yes", "no"]}),
}

_COMPLETIONS: Final[dict[str, Any]] = {
    "whole": plain(),
    "whole with ids": plain(return_token_ids=True),
    "streamed": plain(stream=True),
    "streamed with ids": plain(**WITH_IDS),
    "streamed with usage": plain(**WITH_USAGE, return_token_ids=True),
    "continuous usage": plain(stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True}),
    "16 tokens if nothing is said": {"prompt": STORY_PROMPT, "temperature": 0},
    "several tokens per event": plain(stream_interval=3, **WITH_IDS),
    "empty list": plain(prompt=[]),
    "empty text": plain(prompt=""),
    "no prompt": plain(prompt=None),
    "negative id": plain(prompt=[-1]),
    "half an id": plain(prompt=[1.5]),
    "id beyond the vocabulary": plain(prompt=[99_999]),
    "too long": plain(prompt=[5] * 5000),
    "text too long": plain(prompt="1,2;" * 4000),
    "full context": plain(prompt=[5] * 4096),
    "room for one token": plain(prompt=[5] * 4095),
    "wrong model": plain(model="nobody"),
    "negative temperature": plain(temperature=-0.5),
}

_TOKENIZED: Final[dict[str, Any]] = {
    "messages": {"messages": STORY},
    "without generation prompt": {"messages": STORY, "add_generation_prompt": False},
    "a text": {"prompt": "你a<|im_end|>"},
    "both": {"messages": STORY, "prompt": "a"},
    "calls": {"messages": conversation_with_calls(), "tools": [WEATHER]},
    "a flat tool": {"messages": STORY, "tools": [{"type": "function", "name": "f"}]},
    "token strings": {"prompt": "ab", "return_token_strs": True},
    "empty text": {"prompt": ""},
    "longer than the context": {"messages": [{"role": "user", "content": "1,2;" * 4000}]},
    "neither": {},
    "a number": {"prompt": 5},
    "no messages": {"messages": []},
    "wrong model": {"model": "nobody", "prompt": "a"},
}

_DETOKENIZED: Final[dict[str, Any]] = {
    "ids": {"tokens": [70, 71]},
    "nothing": {"tokens": []},
    "beyond the vocabulary": {"tokens": [99_999]},
    "missing": {},
    "negative": {"tokens": [-1]},
    "a text": {"tokens": "abc"},
}

_OTHERS: Final = (
    Question("completion by ids: whole", PLAIN, plain(return_token_ids=True), prompt_as_ids=STORY_PROMPT),
    Question("completion by ids: streamed", PLAIN, plain(**WITH_IDS), prompt_as_ids=STORY_PROMPT),
    Question("bad JSON", CHAT, content=b"{bad"),
    Question("not UTF-8", CHAT, content=b'{"model": "\xff"}'),
    Question("empty body", CHAT, content=b""),
    Question("not called JSON", CHAT, chat(), content_type="text/plain"),
    Question("wrong method", CHAT, method="GET"),
    Question("wrong path", "/v1/nothing", method="GET"),
    Question("models", "/v1/models", method="GET"),
    Question("health", "/health", method="GET"),
    Question("version", "/version", method="GET"),
    Question("models, posted", "/v1/models", {}),
)


def questions() -> Iterator[Question]:
    tables = {CHAT: _CHATS, PLAIN: _COMPLETIONS, TOKENIZE: _TOKENIZED, DETOKENIZE: _DETOKENIZED}
    for name, body in _TOOLS.items():
        yield Question(f"{CHAT} tools and forms: {name}", CHAT, body)
    for path, bodies in tables.items():
        for name, body in bodies.items():
            yield Question(f"{path} {name}", path, body)
    yield from _OTHERS


def shape_of(answer: httpx2.Response) -> dict[str, Any]:
    content_type = answer.headers.get("content-type", "")
    return {
        "status": answer.status_code,
        "content-type": content_type,
        "headers": sorted(set(answer.headers) - {"content-length", "date"}),
        "body": _body_shape(answer.text, content_type),
    }


def events_in(text: str) -> list[Any]:
    """The events of a stream; the last is the string [DONE]."""
    data = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in data]


def _body_shape(text: str, content_type: str) -> Any:
    if content_type.startswith("text/event-stream"):
        return _once(json.dumps(_shape(event)) for event in events_in(text))
    if content_type == "application/json":
        return _shape(json.loads(text))
    return None


def _shape(value: Any, key: str = "") -> Any:  # noqa: PLR0911 - one return a kind of value
    if key in _LITERAL or value is None or value == "[DONE]":
        return value
    if key == "delta" and value.keys() <= {"content"} and value.get("content", "") is not None:
        return "text, or {} for a token without any"
    if isinstance(value, dict):
        # Pairs, because the order of keys is part of "byte for byte".
        return [[name, _shape(item, name)] for name, item in value.items()]
    if isinstance(value, list):
        return _once(json.dumps(_shape(item)) for item in value)
    if key == "message" and isinstance(value, str):
        return re.sub(r"\d+", "N", value)
    if key == "id" and isinstance(value, str):
        return re.sub(r"-[0-9a-f]{16}$", "-random", value)
    return type(value).__name__


def _once(shapes: Iterable[str]) -> list[str]:
    return [shape for shape, _ in itertools.groupby(shapes)]
