"""Logs: one JSON object a line on standard error, never with a secret or the text of a message."""

import asyncio
import json
import logging
import sys
from typing import Any

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _is_not_a_refused_handshake(record: logging.LogRecord) -> bool:
    """uvicorn takes a handshake that was answered with 401 for a fault of the application."""
    return "without completing handshake" not in record.getMessage()


def _is_not_a_cut_at_the_end(record: logging.LogRecord) -> bool:
    """Whoever still follows an answer when the gateway goes is cut, and comes back to another: no fault either."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def configure_logging() -> None:
    """uvicorn logs a WebSocket's whole path at INFO, query string and so `/ws`'s secret included: silence it."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[out], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_not_a_refused_handshake)
    logging.getLogger("uvicorn.error").addFilter(_is_not_a_cut_at_the_end)
    for chatty in ("httpx2", "httpcore2", "openai"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
