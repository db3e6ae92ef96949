"""vLLM 0.32's events of a chat: what its parsers make of the text, as deltas."""

import secrets
from typing import Any

from engines.scripted.chunks import Chunks, Extras, Head, to_json
from engines.scripted.deltas import NOTHING, CallPiece, Delta, deltas
from engines.scripted.generation import Generation


def call_id() -> str:
    return f"chatcmpl-tool-{secrets.token_hex(8)}"


class ChatChunks(Chunks):
    _object = b"chat.completion.chunk"
    _usage_details = b',"completion_tokens_details":null'
    _prompt_details = b',"prompt_tokens_details":{"cached_tokens":0,"created_cache_tokens":0}'

    def __init__(self, head: Head, generation: Generation, extras: Extras) -> None:
        super().__init__(head, generation, extras)
        self._deltas = deltas(generation.texts, calls=extras.calls)
        # Most answers are nothing but text, and then a token costs a microsecond.
        self._only_text = not extras.calls and not any(delta.reasoning for delta in self._deltas)
        self._silence = b"{}" if extras.parser or not self._only_text else b'{"content":""}'

    def opening(self) -> bytes:
        return (
            b'%b{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]%b,'
            b'"prompt_token_ids":%b,"prompt_text":%b}\n\n'
        ) % (self._prefix, self._usage_at(0), self._prompt_ids(), to_json(self._extras.prompt_text))

    def delta(self, start: int, stop: int) -> bytes:
        told = self._told(start, stop)
        if told == b"{}" and not self._extras.token_ids:
            return b""
        return (b'%b{"index":0,"delta":%b,"logprobs":null,"finish_reason":null,"token_ids":%b}]%b}\n\n') % (
            self._prefix,
            told,
            self._ids(start, stop),
            self._usage_at(stop),
        )

    def last(self, start: int) -> bytes:
        stop = len(self._generation.ids)
        return (
            b'%b{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b,"stop_reason":%b,"token_ids":%b}]%b%b}\n\n'
        ) % (
            self._prefix,
            self._told(start, stop),
            *self._reasons(),
            self._ids(start, stop),
            self._usage_at(stop),
            self._stamp(),
        )

    def _told(self, start: int, stop: int) -> bytes:
        if self._only_text:
            text = self._text(start, stop)
            return b'{"content":"%b"}' % text if text else self._silence
        delta = sum(self._deltas[start + 1 : stop], self._deltas[start])
        return self._silence if delta == NOTHING else to_json(self._fields(delta))

    def _fields(self, delta: Delta) -> dict[str, Any]:
        told: dict[str, Any] = {}
        if delta.content or delta.calls:
            told["content"] = delta.content or None
        if delta.reasoning:
            told["reasoning"] = delta.reasoning
        if pieces := [piece for piece in delta.calls if piece.index == 0 or self._extras.parallel_calls]:
            told["tool_calls"] = [_piece(piece) for piece in pieces]
        return told

    def _reasons(self) -> tuple[bytes, bytes]:
        reason, stop = super()._reasons()
        called = any(delta.calls for delta in self._deltas)
        if called and reason == b'"stop"' and not self._extras.named_call:
            return b'"tool_calls"', stop
        return reason, stop

    def _completion_details(self) -> bytes:
        thoughts = reasoning_tokens(self._deltas)
        return b',"completion_tokens_details":{"reasoning_tokens":%d}' % thoughts if thoughts else b""


def reasoning_tokens(told: tuple[Delta, ...]) -> int:
    return sum(1 for delta in told if delta.reasoning)


def _piece(piece: CallPiece) -> dict[str, Any]:
    if piece.name is None:
        return {"index": piece.index, "function": {"arguments": piece.arguments}}
    return {"id": call_id(), "type": "function", "index": piece.index, "function": {"name": piece.name}}
