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
WELL_KNOWN = ("changeme", "change-me", "change_me", "example", "password", "secret", "default", "01234567")


class InvalidSettings(Exception):
    """One sentence that names the variable at fault and says what to set. The process does not start."""


class Settings(BaseSettings):
    """Read from AUTH_... variables; what is secret may instead be a file in AUTH_SECRETS_DIR."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    database_url: SecretStr
    introspection_credential: SecretStr
    host: str = "127.0.0.1"
    # 0 takes any free port and tells it in the log.
    port: Annotated[int, Field(ge=0, le=65535)] = 8001
    cookie_secure: bool = True
    # Nobody, whoever has an invite, or anybody may make an account; the first one is an administrator's in any case.
    registration: Literal["closed", "invite", "open"] = "closed"
    # Where users reach Parley, like https://chat.example.org: for one-time links and the way back from a provider.
    public_url: str = ""
    # Where revocations are announced; empty: gateways learn of them when they ask again.
    redis_url: str = ""
    redis_user: str = "default"
    redis_password: SecretStr = SecretStr("")
    audit_retention_seconds: Annotated[int, Field(ge=3600)] = 365 * 86400
    # An OpenID provider's address, to which /.well-known/openid-configuration is added; empty: none.
    openid_issuer: str = ""
    openid_client_id: str = ""
    openid_client_secret: SecretStr = SecretStr("")
    # What the page's button says.
    openid_name: str = "OpenID"
    # Whether an account with the e-mail address that the provider has verified is the same person's.
    openid_link_by_email: bool = False
    # Whether whoever the provider lets in gets an account.
    openid_create_accounts: bool = False
    session_idle_seconds: Annotated[int, Field(ge=60)] = 7 * 86400
    session_absolute_seconds: Annotated[int, Field(ge=60)] = 30 * 86400
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    # Whose X-Forwarded-For is believed: addresses or networks, or * behind a network of one's own.
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1", "::1")

    @field_validator("allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _comma_list(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != origin:
                raise ValueError(f"expected origins like https://chat.example.org, got {origin!r}")
        return value

    @field_validator("public_url")
    @classmethod
    def _origin(cls, value: str) -> str:
        return cls._origins((value,))[0] if value else value

    @field_validator("openid_issuer")
    @classmethod
    def _trustworthy(cls, value: str) -> str:
        parts = urlsplit(value)
        # What the provider says is believed; only to this machine itself plain http is as good as https.
        local = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "localhost", "::1"}
        if value and not (parts.netloc and (parts.scheme == "https" or local)):
            raise ValueError(f"expected a URL like https://accounts.example.org, got {value!r}")
        return value

    @field_validator("database_url")
    @classmethod
    def _async_driver(cls, value: SecretStr) -> SecretStr:
        if "+" not in value.get_secret_value().partition("://")[0]:
            raise ValueError("expected a URL with an async driver, like sqlite+aiosqlite:////data/auth.db")
        return value

    @field_validator("introspection_credential")
    @classmethod
    def _unguessable(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        if len(secret) < 32:
            raise ValueError(f"expected at least 32 random characters, got {len(secret)}")
        if _well_known(secret):
            raise ValueError("expected random characters, got a well-known or repetitive value")
        return value

    @field_validator("redis_password")
    @classmethod
    def _no_default(cls, value: SecretStr) -> SecretStr:
        secret = value.get_secret_value()
        # Empty where Redis asks for none; what it is, is made for it, so it need not be easy to type.
        if secret and (len(secret) < 16 or _well_known(secret)):
            raise ValueError("expected at least 16 random characters, got a short, well-known or repetitive value")
        return value

    @model_validator(mode="after")
    def _idle_within_absolute(self) -> Self:
        if self.session_idle_seconds > self.session_absolute_seconds:
            raise ValueError("AUTH_SESSION_IDLE_SECONDS must not exceed AUTH_SESSION_ABSOLUTE_SECONDS")
        return self

    @model_validator(mode="after")
    def _openid_complete(self) -> Self:
        if self.openid_issuer and not (self.openid_client_id and self.public_url):
            raise ValueError("AUTH_OPENID_ISSUER needs AUTH_OPENID_CLIENT_ID and AUTH_PUBLIC_URL as well")
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


def _well_known(secret: str) -> bool:
    return len(set(secret)) < 8 or any(word in secret.lower() for word in WELL_KNOWN)


def load() -> Settings:
    """Raises InvalidSettings."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {SECRETS_DIR}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise InvalidSettings(f"{unknown[0]} is not a setting of auth-service: remove it or correct its name.")
    directory = os.environ.get(SECRETS_DIR)
    if directory and not Path(directory).is_dir():
        raise InvalidSettings(f"{SECRETS_DIR} names a folder that does not exist: {directory}.")
    try:
        return Settings()
    except ValidationError as exc:
        raise InvalidSettings(_sentence(exc)) from None
    except (OSError, UnicodeDecodeError, SettingsError) as exc:
        raise InvalidSettings(f"A file in the folder {SECRETS_DIR} names cannot be read: {exc}.") from None


def _sentence(exc: ValidationError) -> str:
    # Only the first: one thing to mend at a time. The input is left out, it may be a secret.
    error = exc.errors(include_input=False, include_url=False)[0]
    message = error["msg"].removeprefix("Value error, ")
    if not error["loc"]:
        return f"{message}."
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{PREFIX}{name.upper()} is not set: set it, or put a file {name} into the folder {SECRETS_DIR} names."
    return f"{PREFIX}{name.upper()} is not usable: {message}."
