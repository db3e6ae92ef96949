import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

PREFIX = "AUTH_"
SECRETS_DIR = "AUTH_SECRETS_DIR"
WELL_KNOWN_SECRETS = ("changeme", "change-me", "change_me", "example", "password", "secret", "default", "01234567")


class InvalidSettings(Exception):
    """A single sentence that names the invalid variable and the expected value. The process does not start."""


class Settings(BaseSettings):
    """Read from AUTH_... variables; a secret may instead be a file in AUTH_SECRETS_DIR."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    database_url: SecretStr
    introspection_credential: SecretStr
    host: str = "127.0.0.1"
    # 0 selects a free port, which is logged.
    port: Annotated[int, Field(ge=0, le=65535)] = 8001
    cookie_secure: bool = True
    # Who may create an account: nobody, anybody with an invite, or anybody. The first account can always be created
    # and becomes the administrator.
    registration: Literal["closed", "invite", "open"] = "closed"
    # Parley's origin as users see it, such as https://chat.example.org: for one-time links and OpenID redirects.
    public_url: str = ""
    # Where revocations are announced; if empty, gateways notice them at the next introspection.
    redis_url: str = ""
    redis_user: str = "default"
    redis_password: SecretStr = SecretStr("")
    audit_retention_seconds: Annotated[int, Field(ge=3600)] = 365 * 86400
    # The OpenID provider's URL without /.well-known/openid-configuration; empty disables log-in at a provider.
    openid_issuer: str = ""
    openid_client_id: str = ""
    openid_client_secret: SecretStr = SecretStr("")
    # The label of the page's button.
    openid_name: str = "OpenID"
    # Whether to link an existing account whose e-mail address the provider has verified.
    openid_link_by_email: bool = False
    # Whether to create an account for a user without one.
    openid_create_accounts: bool = False
    session_idle_seconds: Annotated[int, Field(ge=60)] = 7 * 86400
    session_absolute_seconds: Annotated[int, Field(ge=60)] = 30 * 86400
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    # Peers whose X-Forwarded-* headers are trusted, that is, nginx: addresses or networks, or * if nobody else can
    # connect. Which proxies in front of nginx are trusted, nginx decides.
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1", "::1")

    @field_validator("allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != origin:
                raise ValueError(f"expected origins like https://chat.example.org, got {origin!r}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            # uvicorn would compare anything else with the peer's address as text, and never find it equal.
            if proxy != "*" and not _is_network(proxy):
                raise ValueError(f"expected *, addresses or networks such as 10.0.0.0/8, got {proxy!r}")
        return value

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, value: str) -> str:
        return cls._check_origins((value,))[0] if value else value

    @field_validator("openid_issuer")
    @classmethod
    def _check_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        # The provider's responses are trusted, so they must not be forgeable: http only on the loopback interface.
        local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if value and not (parts.netloc and (parts.scheme == "https" or local)):
            raise ValueError(f"expected a URL like https://accounts.example.org, got {value!r}")
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: SecretStr) -> SecretStr:
        if "+" not in value.get_secret_value().partition("://")[0]:
            raise ValueError("expected a URL with an async driver, like sqlite+aiosqlite:////data/auth.db")
        return value

    @field_validator("introspection_credential")
    @classmethod
    def _check_introspection_credential(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        if len(secret) < 32:
            raise ValueError(f"expected at least 32 random characters, got {len(secret)}")
        if _is_guessable(secret):
            raise ValueError("expected random characters, got a well-known or repetitive value")
        return value

    @field_validator("redis_password")
    @classmethod
    def _check_redis_password(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        # Empty for a Redis without authentication.
        if secret and (len(secret) < 16 or _is_guessable(secret)):
            raise ValueError("expected at least 16 random characters, got a short, well-known or repetitive value")
        return value

    @model_validator(mode="after")
    def _check_session_lifetime(self) -> Self:
        if self.session_idle_seconds > self.session_absolute_seconds:
            raise ValueError("AUTH_SESSION_IDLE_SECONDS must not exceed AUTH_SESSION_ABSOLUTE_SECONDS")
        return self

    @model_validator(mode="after")
    def _check_openid_complete(self) -> Self:
        if self.openid_issuer and not (self.openid_client_id and self.public_url):
            raise ValueError("AUTH_OPENID_ISSUER also requires AUTH_OPENID_CLIENT_ID and AUTH_PUBLIC_URL")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        directory = os.environ.get(SECRETS_DIR)
        if not directory:
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, directory, env_prefix="")


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        return False
    return True


def _is_guessable(secret: str) -> bool:
    return len(set(secret)) < 8 or any(word in secret.lower() for word in WELL_KNOWN_SECRETS)


def load() -> Settings:
    """Raises InvalidSettings."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {SECRETS_DIR}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise InvalidSettings(f"{unknown[0]} is not a setting of auth-service: remove it or correct its name.")
    directory = os.environ.get(SECRETS_DIR)
    if directory and not Path(directory).is_dir():
        raise InvalidSettings(f"{SECRETS_DIR} names a directory that does not exist: {directory}.")
    try:
        return Settings()
    except ValidationError as exc:
        raise InvalidSettings(_first_error(exc)) from None
    except (OSError, UnicodeDecodeError, SettingsError) as exc:
        raise InvalidSettings(f"A file in the directory of {SECRETS_DIR} cannot be read: {exc}.") from None


def _first_error(exc: ValidationError) -> str:
    # Without the input, which may be a secret.
    error = exc.errors(include_input=False, include_url=False)[0]
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return f"{message}."
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{PREFIX}{name.upper()} is not set: set it, or add a file {name} to the directory of {SECRETS_DIR}."
    return f"{PREFIX}{name.upper()} is invalid: {message}."
