"""Logs: one JSON object per line on standard error, never with a secret or the text of a message."""

import asyncio
import json
import logging
import sys
from typing import Any

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _is_not_rejected_handshake(record: logging.LogRecord) -> bool:
    """uvicorn logs a handshake that was rejected with a 401 as an error of the application."""
    return "without completing handshake" not in record.getMessage()


def _is_not_cancelled_at_shutdown(record: logging.LogRecord) -> bool:
    """A client that still follows a response at shutdown is disconnected, and resumes at another gateway: no error."""
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        return False
    return "timeout graceful shutdown exceeded" not in record.getMessage()


def configure_logging() -> None:
    """Raises uvicorn's level: at INFO it logs a WebSocket's path with its query, which on `/ws` contains a secret."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(_is_not_rejected_handshake)
    logging.getLogger("uvicorn.error").addFilter(_is_not_cancelled_at_shutdown)
    for name in ("httpx2", "httpcore2", "openai"):
        logging.getLogger(name).setLevel(logging.WARNING)
