"""`gateway.__main__`: what an operator sees when the settings are wrong."""

import pytest

from gateway.__main__ import main

REQUIRED = ("AUTH_URL", "INTROSPECTION_CREDENTIAL", "REDIS_URL", "ENGINE_URL", "SERVER_KEY")


def test_every_missing_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in REQUIRED:
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
    with pytest.raises(SystemExit) as exited:
        main()
    assert str(exited.value).splitlines() == [f"gateway: GATEWAY_{name}: Field required" for name in REQUIRED]


def test_an_invalid_nested_setting_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEMPERATURE", "9")
    with pytest.raises(SystemExit, match="gateway: GATEWAY_TEMPERATURE: Input should be less than or equal to 2"):
        main()


def test_an_unknown_variable_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TEMPRATURE", "1")
    with pytest.raises(SystemExit) as exited:
        main()
    assert str(exited.value) == "gateway: unknown setting GATEWAY_TEMPRATURE; see docs/configuration.md"
