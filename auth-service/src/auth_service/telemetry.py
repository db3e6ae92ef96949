import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

# What a plain record has; everything else came through `extra=` and is a field of the event.
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class JsonLines(logging.Formatter):
    """One JSON object a line, so that a text from outside cannot forge a second line."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage().strip(),
        }
        event |= {key: value for key, value in vars(record).items() if key not in _PLAIN}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False, default=str)


def configure() -> None:
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[lines], force=True)
    # Alembic tells every step, the two quiet ones every statement and form field at DEBUG.
    for name in ("alembic", "aiosqlite", "python_multipart"):
        logging.getLogger(name).setLevel(logging.WARNING)
