import asyncio
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from gateway.telemetry import JsonFormatter, configure_logging


def formatted(message: str, *args: object, **extra: object) -> str:
    record = logging.makeLogRecord({"name": "gateway", "levelname": "INFO", "msg": message, "args": args, **extra})
    return JsonFormatter().format(record)


def test_a_record_is_one_json_object_with_its_extra_fields() -> None:
    line = json.loads(formatted("turn %s", "ended", response_id="resp_1"))
    assert (line["message"], line["level"], line["logger"]) == ("turn ended", "info", "gateway")
    assert line["response_id"] == "resp_1"


def test_text_from_outside_cannot_start_a_second_line() -> None:
    assert "\n" not in formatted("refused %s", 'x\n{"message": "forged"}', reason="y\r\nz")


def test_an_exception_is_a_field_of_its_record() -> None:
    with pytest.raises(RuntimeError) as failure:
        raise RuntimeError("broken")
    line = formatted("failed", exc_info=(failure.type, failure.value, failure.tb))
    assert "\n" not in line
    assert "RuntimeError: broken" in json.loads(line)["exception"]


@pytest.fixture
def configured() -> logging.Logger:
    configure_logging()
    return logging.getLogger("uvicorn.error")


def handled(logger: logging.Logger, message: str, exception: BaseException | None = None) -> bool:
    exc_info = None if exception is None else (type(exception), exception, None)
    return bool(logger.filter(logger.makeRecord(logger.name, logging.ERROR, "", 0, message, (), exc_info)))


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, level, filters, uvicorn_level = root.handlers[:], root.level, uvicorn.filters[:], uvicorn.level
    yield
    root.handlers, uvicorn.filters = handlers, filters
    root.setLevel(level)
    uvicorn.setLevel(uvicorn_level)


def test_rejected_handshakes_and_followers_cut_at_shutdown_are_no_errors(configured: logging.Logger) -> None:
    assert not handled(configured, "ASGI callable returned without completing handshake.")
    assert not handled(configured, "Exception in ASGI application", asyncio.CancelledError())
    assert not handled(configured, "Cancel 7 running task(s), timeout graceful shutdown exceeded")
    assert handled(configured, "Exception in ASGI application", ZeroDivisionError())


def test_uvicorn_does_not_log_the_query_of_a_socket(configured: logging.Logger) -> None:
    assert not configured.isEnabledFor(logging.INFO)
    assert not logging.getLogger("uvicorn.access").isEnabledFor(logging.INFO)
    (handler,) = (one for one in logging.getLogger().handlers if isinstance(one.formatter, JsonFormatter))
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr
