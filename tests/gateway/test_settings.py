from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.settings import Settings, variable

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


def test_the_generation_defaults_are_those_of_the_paper(environment: pytest.MonkeyPatch) -> None:
    defaults = Settings.from_environment().generation
    assert defaults.system_prompt == "你是一位得力的助手。"
    assert (defaults.temperature, defaults.top_p, defaults.repetition_penalty) == (0.45, 0.9, 1.2)
    assert defaults.max_output_tokens == 10240


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_setting_without_a_default_is_required(environment: pytest.MonkeyPatch, name: str) -> None:
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
def test_an_unusable_url_is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(name, value)
    with pytest.raises(ValidationError, match=name.removeprefix("GATEWAY_").lower()) as caught:
        Settings.from_environment()
    assert "hunter2" not in str(caught.value)


def test_nested_settings_have_variables_of_their_own(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_TEMPERATURE", "0")
    environment.setenv("GATEWAY_REDIS_USER", "gateway")
    environment.setenv("GATEWAY_REDIS_PASSWORD", "hunter2")
    settings = Settings.from_environment()
    assert settings.generation.temperature == 0
    assert settings.generation.model_fields_set == {"temperature"}
    assert settings.redis_credential.user == "gateway"
    assert settings.redis_credential.password.get_secret_value() == "hunter2"


@pytest.mark.parametrize("name", ["GATEWAY_GENERATION", "GATEWAY_REDIS_CREDENTIAL", "GATEWAY_USER"])
def test_the_name_of_a_nested_model_is_no_variable(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "{}")
    with pytest.raises(ValueError, match=f"unknown setting {name}"):
        Settings.from_environment()


def test_every_invalid_variable_is_reported_by_its_own_name(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_TOP_P", "hunter2")
    environment.setenv("GATEWAY_PORT", "-1")
    with pytest.raises(ValidationError) as caught:
        Settings.from_environment()
    assert {variable(*error["loc"]) for error in caught.value.errors()} == {"GATEWAY_TOP_P", "GATEWAY_PORT"}
    assert "hunter2" not in str(caught.value)
    assert variable("redis_credential", "password") == "GATEWAY_REDIS_PASSWORD"


def test_there_are_fewer_than_thirty_settings() -> None:
    assert len(Settings.model_fields) < 30


def test_secrets_may_be_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("GATEWAY_SERVER_KEY")
    environment.setenv("GATEWAY_SECRETS_DIR", str(tmp_path))
    (tmp_path / "server_key").write_text("f" * 40 + "\n")
    (tmp_path / "redis_password").write_text("p" * 16 + "\n")
    (tmp_path / "temperature").write_text("1")
    environment.setenv("GATEWAY_TEMPERATURE", "0.5")
    settings = Settings.from_environment()
    assert settings.server_key.get_secret_value() == "f" * 40
    assert settings.redis_credential.password.get_secret_value() == "p" * 16
    assert settings.generation.temperature == 0.5


def test_origins_are_a_comma_separated_list(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GATEWAY_ALLOWED_ORIGINS", "https://a.example, https://b.example")
    assert Settings.from_environment().allowed_origins == {"https://a.example", "https://b.example"}


def test_engines_are_a_comma_separated_list_of_addresses_and_names(environment: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().engine_url == ("http://vllm:8000/v1",)
    environment.setenv("GATEWAY_ENGINE_URL", "https://a/v1, dns+http://vllm:8000/v1")
    assert Settings.from_environment().engine_url == ("https://a/v1", "dns+http://vllm:8000/v1")
