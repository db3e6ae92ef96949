"""vLLM 0.32's chat events: the text as its parsers split it into deltas."""

import secrets
from typing import Any

from engines.scripted.chunks import Chunks, ResponseHead, ResponseOptions, to_json
from engines.scripted.deltas import EMPTY, CallPiece, Delta, deltas
from engines.scripted.generation import Generation


def call_id() -> str:
    return f"chatcmpl-tool-{secrets.token_hex(8)}"


class ChatChunks(Chunks):
    _object = b"chat.completion.chunk"
    _usage_details = b',"completion_tokens_details":null'
    _prompt_details = b',"prompt_tokens_details":{"cached_tokens":0,"created_cache_tokens":0}'

    def __init__(self, head: ResponseHead, generation: Generation, options: ResponseOptions) -> None:
        super().__init__(head, generation, options)
        self._deltas = deltas(generation.texts, calls=options.calls)
        # Most answers are text only, and then a token costs a microsecond.
        self._is_text_only = not options.calls and not any(delta.reasoning for delta in self._deltas)
        self._empty_delta = b"{}" if options.parser or not self._is_text_only else b'{"content":""}'

    def opening(self) -> bytes:
        return (
            b'%b{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]%b,'
            b'"prompt_token_ids":%b,"prompt_text":%b}\n\n'
        ) % (self._prefix, self._usage_at(0), self._prompt_ids(), to_json(self._options.prompt_text))

    def delta(self, start: int, stop: int) -> bytes:
        delta = self._delta_json(start, stop)
        if delta == b"{}" and not self._options.token_ids:
            return b""
        return (b'%b{"index":0,"delta":%b,"logprobs":null,"finish_reason":null,"token_ids":%b}]%b}\n\n') % (
            self._prefix,
            delta,
            self._ids(start, stop),
            self._usage_at(stop),
        )

    def last(self, start: int) -> bytes:
        stop = len(self._generation.ids)
        return (
            b'%b{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b,"stop_reason":%b,"token_ids":%b}]%b%b}\n\n'
        ) % (
            self._prefix,
            self._delta_json(start, stop),
            *self._reasons(),
            self._ids(start, stop),
            self._usage_at(stop),
            self._fingerprint(),
        )

    def _delta_json(self, start: int, stop: int) -> bytes:
        if self._is_text_only:
            text = self._text(start, stop)
            return b'{"content":"%b"}' % text if text else self._empty_delta
        delta = sum(self._deltas[start + 1 : stop], self._deltas[start])
        return self._empty_delta if delta == EMPTY else to_json(self._fields(delta))

    def _fields(self, delta: Delta) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if delta.content or delta.calls:
            fields["content"] = delta.content or None
        if delta.reasoning:
            fields["reasoning"] = delta.reasoning
        if pieces := [piece for piece in delta.calls if piece.index == 0 or self._options.parallel_calls]:
            fields["tool_calls"] = [_piece(piece) for piece in pieces]
        return fields

    def _reasons(self) -> tuple[bytes, bytes]:
        reason, stop = super()._reasons()
        has_calls = any(delta.calls for delta in self._deltas)
        if has_calls and reason == b'"stop"' and not self._options.named_call:
            return b'"tool_calls"', stop
        return reason, stop

    def _completion_details(self) -> bytes:
        count = reasoning_tokens(self._deltas)
        return b',"completion_tokens_details":{"reasoning_tokens":%d}' % count if count else b""


def reasoning_tokens(deltas: tuple[Delta, ...]) -> int:
    return sum(1 for delta in deltas if delta.reasoning)


def _piece(piece: CallPiece) -> dict[str, Any]:
    if piece.name is None:
        return {"index": piece.index, "function": {"arguments": piece.arguments}}
    return {"id": call_id(), "type": "function", "index": piece.index, "function": {"name": piece.name}}
