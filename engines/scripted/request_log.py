"""The engine's last requests, so that a test can inspect what a gateway sent."""

import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from engines.scripted.connection import Request
from engines.scripted.run import Run

_MASKED: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key"})


@dataclass(slots=True)
class LoggedRequest:
    request: Request
    received_at: float = field(default_factory=time.time)
    status: int | None = None
    run: Run | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.request.method,
            "path": self.request.path,
            "headers": _masked(self.request.headers),
            "body": _body(self.request.body),
            "received_at": self.received_at,
            "status": self.status,
            "state": self.run.state.value if self.run else None,
            "tokens": self.run.token_count if self.run else 0,
        }


class RequestLog:
    def __init__(self, keep: int) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=keep)

    def append(self, entry: LoggedRequest) -> None:
        self._entries.append(entry)

    def to_dict(self) -> dict[str, Any]:
        return {"object": "list", "data": [entry.to_dict() for entry in self._entries]}

    def clear(self) -> None:
        self._entries.clear()


def _masked(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: "***" if name in _MASKED else value for name, value in headers.items()}


def _body(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace") or None
