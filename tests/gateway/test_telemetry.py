import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.telemetry import JsonLines, configure_logging

CONFIGURED = ["uvicorn.error", "uvicorn.access", "httpx2", "httpcore2", "openai"]


def line(message: str, *args: object, **extra: object) -> str:
    record = logging.makeLogRecord({"name": "gateway", "levelname": "INFO", "msg": message, "args": args, **extra})
    return JsonLines().format(record)


@contextmanager
def configured() -> Iterator[None]:
    """Logging as in a gateway."""
    root, named = logging.getLogger(), [logging.getLogger(name) for name in CONFIGURED]
    handlers, level = list(root.handlers), root.level
    before = [(logger.level, list(logger.filters)) for logger in named]
    root.handlers.clear()  # else they are closed
    configure_logging()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for logger, (old_level, filters) in zip(named, before, strict=True):
            logger.setLevel(old_level)
            logger.filters[:] = filters


def test_a_record_is_one_json_object_with_its_fields() -> None:
    event = json.loads(line("turn ended", response="resp_1", seconds=1.5))
    assert {name: event[name] for name in ("level", "logger", "message", "response", "seconds")} == {
        "level": "info",
        "logger": "gateway",
        "message": "turn ended",
        "response": "resp_1",
        "seconds": 1.5,
    }
    assert "time" in event


def test_text_from_outside_cannot_begin_a_second_line() -> None:
    assert "\n" not in line("refused %s", 'x\n{"message": "forged"}', origin="y\r\nz")


def test_an_exception_is_a_field_of_its_record() -> None:
    with pytest.raises(RuntimeError) as failure:
        raise RuntimeError("broken")
    text = line("failed", exc_info=(failure.type, failure.value, failure.tb))
    assert "\n" not in text
    assert "RuntimeError: broken" in json.loads(text)["exception"]


def test_a_log_line_goes_to_standard_error_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with configured():
        logging.getLogger("gateway").info("turn ended", extra={"response": "resp_1"})
    (text,) = capsys.readouterr().err.splitlines()
    assert json.loads(text)["response"] == "resp_1"


@pytest.mark.parametrize("name", CONFIGURED)
def test_libraries_log_no_requests_because_a_path_may_hold_a_secret(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured():
        logging.getLogger(name).info("GET /ws?ticket=secret")
        logging.getLogger(name).warning("something is wrong")
    assert [json.loads(text)["message"] for text in capsys.readouterr().err.splitlines()] == ["something is wrong"]


def test_refused_handshakes_and_cancelled_followers_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    server = logging.getLogger("uvicorn.error")
    cancelled, bug = asyncio.CancelledError(), ZeroDivisionError()
    with configured():
        server.error("ASGI callable returned without completing handshake.")
        server.error("Exception in ASGI application", exc_info=(type(cancelled), cancelled, None))
        server.error("Exception in ASGI application", exc_info=(type(bug), bug, None))
    (text,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in json.loads(text)["exception"]
