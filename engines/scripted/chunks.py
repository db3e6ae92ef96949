"""vLLM 0.32's server-sent events, byte for byte, with its key order and nulls. Chat events: `chat_chunks`.

The parts that all events of a stream share are encoded once: rendering a token costs about a microsecond.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

from engines.scripted.generation import Generation

FINGERPRINT: Final = "vllm-0.32.0-5c219ded"
DONE: Final = b"data: [DONE]\n\n"
_FINGERPRINT_FIELD: Final = b',"system_fingerprint":"%b"' % FINGERPRINT.encode()


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What identifies a response."""

    id: str
    created: int
    model: str


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """What a request wants besides the text."""

    token_ids: bool = False
    usage: bool = False
    continuous_usage: bool = False
    prompt_text: str | None = None
    # Only when the server runs with --enable-prompt-tokens-details.
    prompt_details: bool = False
    # Whether vLLM's parsers read the text, and whether they look for calls (only if the request has tools).
    parser: bool = False
    calls: bool = False
    parallel_calls: bool = True
    forced_call: bool = False
    # "tool_calls" is not the reason when the client has named the tool.
    named_call: bool = False


def to_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def error_event(body: dict[str, Any]) -> bytes:
    # The only event that vLLM does not render compactly.
    return b"data: %b\n\n" % json.dumps(body).encode()


@lru_cache(maxsize=8192)
def _escaped(text: str) -> bytes:
    return to_json(text)[1:-1]


class Chunks(ABC):
    """The events of one stream. A range `start, stop` is of the generation's tokens."""

    _object: ClassVar[bytes]
    _usage_details: ClassVar[bytes]
    _prompt_details: ClassVar[bytes]

    def __init__(self, head: ResponseHead, generation: Generation, options: ResponseOptions) -> None:
        self._generation = generation
        self._options = options
        self._texts = tuple(map(_escaped, generation.texts))
        self._prefix = b'data: {"id":%b,"object":"%b","created":%d,"model":%b,"choices":[' % (
            to_json(head.id),
            self._object,
            head.created,
            to_json(head.model),
        )

    @abstractmethod
    def opening(self) -> bytes:
        """The event before the first token; it is sent together with that token."""

    @abstractmethod
    def delta(self, start: int, stop: int) -> bytes:
        """Empty if there is nothing to send."""

    @abstractmethod
    def last(self, start: int) -> bytes: ...

    def closing(self) -> bytes:
        """The usage, if it was requested."""
        if not self._options.usage:
            return b""
        counts = to_json(usage_counts(len(self._generation.prompt_ids), len(self._generation.ids)))
        details = self._prompt_details if self._options.prompt_details else b""
        details += self._completion_details()
        return b'%b],"usage":%b%b}%b}\n\n' % (self._prefix, counts.removesuffix(b"}"), details, _FINGERPRINT_FIELD)

    def _completion_details(self) -> bytes:
        return b""

    def first_multibyte(self, start: int) -> int:
        """The first token from `start` on whose text is not plain ASCII; `start` if there is none."""
        return next((n for n in range(start, len(self._texts)) if not self._texts[n].isascii()), start)

    def _text(self, start: int, stop: int) -> bytes:
        texts = self._texts
        return texts[start] if stop - start == 1 else b"".join(texts[start:stop])

    def _ids(self, start: int, stop: int) -> bytes:
        if not self._options.token_ids:
            return b"null"
        ids = self._generation.ids
        return b"[%d]" % ids[start] if stop - start == 1 else to_json(ids[start:stop])

    def _prompt_ids(self) -> bytes:
        return to_json(self._generation.prompt_ids) if self._options.token_ids else b"null"

    def _reasons(self) -> tuple[bytes, bytes]:
        return to_json(self._generation.finish_reason), to_json(self._generation.stop_reason)

    def _usage_at(self, made: int) -> bytes:
        if not self._options.continuous_usage:
            return b""
        prompt = len(self._generation.prompt_ids)
        return b',"usage":{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d%b}' % (
            prompt,
            prompt + made,
            made,
            self._usage_details,
        )

    def _fingerprint(self) -> bytes:
        # The usage event carries it if there is one.
        return b"" if self._options.usage else _FINGERPRINT_FIELD


class CompletionChunks(Chunks):
    _object = b"text_completion"
    _usage_details = b""
    _prompt_details = b',"prompt_tokens_details":{"cached_tokens":0}'

    def opening(self) -> bytes:
        return b""

    def delta(self, start: int, stop: int) -> bytes:
        return self._event(start, stop, (b"null", b"null"), b"")

    def last(self, start: int) -> bytes:
        return self._event(start, len(self._generation.ids), self._reasons(), self._fingerprint())

    def _event(self, start: int, stop: int, reasons: tuple[bytes, bytes], stamp: bytes) -> bytes:
        return (
            b'%b{"index":0,"text":"%b","logprobs":null,"finish_reason":%b,"stop_reason":%b,'
            b'"prompt_token_ids":%b,"token_ids":%b}]%b%b}\n\n'
        ) % (
            self._prefix,
            self._text(start, stop),
            *reasons,
            self._prompt_ids() if start == 0 else b"null",
            self._ids(start, stop),
            self._usage_at(stop),
            stamp,
        )


def usage_counts(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}
