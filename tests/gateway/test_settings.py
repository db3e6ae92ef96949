from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Settings

NEEDED = {
    "GATEWAY_AUTH_URL": "http://auth-service:8000",
    "GATEWAY_REDIS_URL": "redis://redis",
    "GATEWAY_ENGINE_URL": "http://vllm:8000/v1",
    "GATEWAY_INTROSPECTION_CREDENTIAL": "c" * 32,
    "GATEWAY_SERVER_KEY": "k" * 32,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_turn_has_the_papers_defaults(environment: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment()
    assert settings.system_prompt == "你是一位得力的助手。"
    assert (settings.temperature, settings.top_p, settings.repetition_penalty) == (0.45, 0.9, 1.2)
    assert settings.max_output_tokens == 10240


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_what_has_no_default_must_be_set(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)
    with pytest.raises(ValidationError, match=name.removeprefix("GATEWAY_").lower()):
        Settings.from_environment()


def test_an_unknown_variable_is_refused_by_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_TEMPRATURE", "1")
    with pytest.raises(ValueError, match="GATEWAY_TEMPRATURE"):
        Settings.from_environment()


def test_a_short_secret_is_refused_and_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_SERVER_KEY", "hunter2")
    with pytest.raises(ValidationError) as caught:
        Settings.from_environment()
    assert "server_key" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_REDIS_URL", "redis:6379"),
        ("GATEWAY_ENGINE_URL", "http://[/v1"),
        ("GATEWAY_ENGINE_URL", "http://host:abc/v1"),
        ("GATEWAY_ENGINE_URL", "http://me:hunter2@vllm:8000/v1"),
        ("GATEWAY_ENGINE_URL", "http://a:8000/v1,vllm:8000/v1"),
        ("GATEWAY_ENGINE_URL", "dns+https://vllm:8000/v1"),
        ("GATEWAY_ENGINE_URL", " , "),
        ("GATEWAY_AUTH_URL", "auth-service"),
    ],
)
def test_a_url_that_can_not_be_used_stops_the_start(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("GATEWAY_").lower()) as caught:
        Settings.from_environment()
    assert "hunter2" not in str(caught.value)


def test_secrets_may_be_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("GATEWAY_SERVER_KEY")
    environment.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    (tmp_path / "server_key").write_text("f" * 40 + "\n")
    assert Settings.from_environment().server_key.get_secret_value() == "f" * 40


def test_origins_are_a_comma_separated_list(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_ALLOWED_ORIGINS", "https://a.example, https://b.example")
    assert Settings.from_environment().allowed_origins == {"https://a.example", "https://b.example"}


def test_engines_are_a_comma_separated_list_of_addresses_and_names(environment: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().engine_url == ("http://vllm:8000/v1",)
    environment.setenv("GATEWAY_ENGINE_URL", "https://a/v1, dns+http://vllm:8000/v1")
    assert Settings.from_environment().engine_url == ("https://a/v1", "dns+http://vllm:8000/v1")
