"""Tests of auth_service.settings."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from auth_service.settings import InvalidSettings, Settings, load

CREDENTIAL = "Zq8vK2mN5xR7tY1wB4cF6hJ9pL3sD0gAeU"
URL = "sqlite+aiosqlite:////data/auth.db"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("AUTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AUTH_DATABASE_URL", URL)
    monkeypatch.setenv("AUTH_INTROSPECTION_CREDENTIAL", CREDENTIAL)
    return monkeypatch


def test_two_settings_are_required_and_the_defaults_are_safe() -> None:
    settings = load()
    assert settings.host == "127.0.0.1"
    assert settings.cookie_secure
    assert settings.allowed_origins == ()
    assert settings.session_idle_seconds <= settings.session_absolute_seconds
    assert settings.registration == "closed"
    assert settings.openid_issuer == ""
    assert not settings.openid_link_by_email
    assert not settings.openid_create_accounts


def test_lists_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AUTH_ALLOWED_ORIGINS", "https://chat.example.org, http://localhost:7777")
    environment.setenv("AUTH_TRUSTED_PROXIES", "10.0.0.0/8,::1, *")
    assert load().allowed_origins == ("https://chat.example.org", "http://localhost:7777")
    assert load().trusted_proxies == ("10.0.0.0/8", "::1", "*")


def test_an_empty_variable_counts_as_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AUTH_PORT", "")
    environment.setenv("AUTH_ALLOWED_ORIGINS", "")
    assert load() == Settings()


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", ["AUTH_DATABASE_URL", "AUTH_INTROSPECTION_CREDENTIAL"])
def test_a_missing_setting_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(name)
    with pytest.raises(InvalidSettings, match=f"^{name} is not set: set it, or add a file"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("AUTH_INTROSPECTION_CREDENTIAL", "short-but-random-Zq8v", "at least 32 random characters, got 21"),
        ("AUTH_INTROSPECTION_CREDENTIAL", "", "is not set"),
        ("AUTH_INTROSPECTION_CREDENTIAL", "changeme-changeme-changeme-changeme", "well-known"),
        ("AUTH_INTROSPECTION_CREDENTIAL", "MySecretMySecretMySecretMySecret123", "well-known"),
        ("AUTH_INTROSPECTION_CREDENTIAL", "x" * 64, "repetitive"),
        ("AUTH_REDIS_PASSWORD", "redis", "at least 16 random characters"),
        ("AUTH_REDIS_PASSWORD", "changeme-changeme-changeme", "at least 16 random characters"),
        ("AUTH_REDIS_PASSWORD", "x" * 32, "at least 16 random characters"),
        ("AUTH_DATABASE_URL", "sqlite:///auth.db", "async driver"),
        ("AUTH_PORT", "http", "integer"),
        ("AUTH_PORT", "65536", "65535"),
        ("AUTH_COOKIE_SECURE", "perhaps", "boolean"),
        ("AUTH_SESSION_IDLE_SECONDS", "0", "60"),
        ("AUTH_SESSION_IDLE_SECONDS", "99999999", "must not exceed AUTH_SESSION_ABSOLUTE_SECONDS"),
        ("AUTH_ALLOWED_ORIGINS", "chat.example.org", "origins like https://"),
        ("AUTH_ALLOWED_ORIGINS", "https://chat.example.org/", "origins like https://"),
        ("AUTH_ALLOWED_ORIGINS", "null", "origins like https://"),
        ("AUTH_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.1/8", "such as 10.0.0.0/8, got '10.0.0.1/8'"),
        ("AUTH_TRUSTED_PROXIES", "nginx", "such as 10.0.0.0/8, got 'nginx'"),
        ("AUTH_COOKIE_SECRET", "x", "is not a setting"),
        ("AUTH_REGISTRATION", "everybody", "'closed', 'invite' or 'open'"),
        ("AUTH_PUBLIC_URL", "https://chat.example.org/parley", "origins like https://"),
        ("AUTH_AUDIT_RETENTION_SECONDS", "0", "3600"),
        ("AUTH_OPENID_ISSUER", "http://accounts.example.org", "a URL like https://"),
        ("AUTH_OPENID_ISSUER", "accounts.example.org", "a URL like https://"),
        ("AUTH_OPENID_ISSUER", "https://accounts.example.org", "requires AUTH_OPENID_CLIENT_ID and AUTH_PUBLIC_URL"),
    ],
)
def test_an_invalid_value_is_reported_in_one_sentence_with_its_variable(
    environment: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(InvalidSettings) as refusal:
        load()
    assert str(refusal.value).startswith(name)
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_invalid_secret_is_not_repeated(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AUTH_INTROSPECTION_CREDENTIAL", "canary-canary")
    with pytest.raises(InvalidSettings) as refusal:
        load()
    assert "canary" not in str(refusal.value)


def test_secrets_may_be_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("AUTH_INTROSPECTION_CREDENTIAL")
    environment.setenv("AUTH_SECRETS_DIR", str(tmp_path))
    (tmp_path / "introspection_credential").write_text(CREDENTIAL + "\n")
    (tmp_path / "redis_password").write_text("another service's")
    assert load().introspection_credential.get_secret_value() == CREDENTIAL


def test_a_secret_in_a_file_is_validated_in_the_same_way(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.delenv("AUTH_INTROSPECTION_CREDENTIAL")
    environment.setenv("AUTH_SECRETS_DIR", str(tmp_path))
    (tmp_path / "introspection_credential").write_text("short")
    with pytest.raises(InvalidSettings, match=r"^AUTH_INTROSPECTION_CREDENTIAL"):
        load()


def test_a_file_that_cannot_be_read_is_named(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("AUTH_SECRETS_DIR", str(tmp_path))
    (tmp_path / "introspection_credential").write_bytes(b"\xff" * 40)
    with pytest.raises(InvalidSettings, match="AUTH_SECRETS_DIR"):
        load()


def test_a_missing_directory_of_secrets_is_named(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AUTH_SECRETS_DIR", "/nowhere/secrets")
    with pytest.raises(
        InvalidSettings, match="AUTH_SECRETS_DIR names a directory that does not exist: /nowhere/secrets"
    ):
        load()


def test_repr_does_not_contain_secrets() -> None:
    assert CREDENTIAL not in repr(load())
    assert URL not in repr(load())


def test_there_are_fewer_than_thirty_settings() -> None:
    assert len(Settings.model_fields) < 30


def test_the_issuer_is_an_https_or_a_loopback_url(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AUTH_OPENID_CLIENT_ID", "parley")
    environment.setenv("AUTH_PUBLIC_URL", "https://chat.example.org")
    for issuer in ["https://accounts.example.org/realms/a", "http://127.0.0.1:3000"]:
        environment.setenv("AUTH_OPENID_ISSUER", issuer)
        assert load().openid_issuer == issuer
