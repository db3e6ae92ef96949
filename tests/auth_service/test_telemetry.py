"""Tests of auth_service.telemetry."""

import json
import logging

import pytest

from auth_service.telemetry import JsonLines


def line(message: str, *args: object, **extra: object) -> str:
    record = logging.makeLogRecord({"name": "auth", "levelname": "INFO", "msg": message, "args": args, **extra})
    return JsonLines().format(record)


def test_an_event_is_one_json_object_with_its_fields() -> None:
    event = json.loads(line("session opened", account="user_1"))
    assert event["message"] == "session opened"
    assert event["account"] == "user_1"
    assert event["level"] == "info"
    assert event["time"].endswith("+00:00")


def test_untrusted_text_cannot_begin_another_line() -> None:
    assert "\n" not in line("refused %s", 'x\n{"message": "forged"}', address="y\r\nz")


def test_an_exception_is_a_field_of_its_event() -> None:
    with pytest.raises(RuntimeError) as failure:
        raise RuntimeError("broken")
    text = line("failed", exc_info=(failure.type, failure.value, failure.tb))
    assert "\n" not in text
    assert "RuntimeError: broken" in json.loads(text)["exception"]
