"""The gateway's settings. Only `lifespan`, `clients`, `app` and `__main__` read them."""

import os
from typing import Annotated, Any, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

_PREFIX = "GATEWAY_"
SECRETS_DIR_VARIABLE = "GATEWAY_SECRETS_DIR"

Secret = Annotated[SecretStr, Field(min_length=32)]


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if not value.startswith(tuple(f"{one}://" for one in schemes)) or parts.port == 0:
            raise ValueError(f"expected a URL that begins with {' or '.join(f'{one}://' for one in schemes)}")
        if parts.username or parts.password:
            raise ValueError(
                "expected a URL without credentials: a URL may be logged, and they have their own settings"
            )
        return value

    return AfterValidator(check)


# "dns+": there is an engine at each address that the name resolves to.
EngineUrl = Annotated[str, _url("http", "https", "dns+http")]


class GenerationDefaults(BaseModel):
    """For a request, and a conversation, that sets none of its own: `GATEWAY_TEMPERATURE` and so on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system_prompt: str = "你是一位得力的助手。"
    temperature: float = Field(default=0.45, ge=0, le=2)
    top_p: float = Field(default=0.9, gt=0, le=1)
    repetition_penalty: float = Field(default=1.2, gt=0)
    max_output_tokens: int = Field(default=10240, ge=1)


class RedisCredential(BaseModel):
    """`GATEWAY_REDIS_USER` and `GATEWAY_REDIS_PASSWORD`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str = "default"
    password: SecretStr = SecretStr("")


# Nested models, and what their fields' variables begin with: an operator does not see the nesting.
_NESTED: dict[str, tuple[type[BaseModel], str]] = {
    "generation": (GenerationDefaults, ""),
    "redis_credential": (RedisCredential, "redis_"),
}


class Settings(BaseSettings):
    """Environment variables `GATEWAY_<NAME>`, or files `<name>` in the folder `GATEWAY_SECRETS_DIR`."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)

    auth_url: Annotated[str, _url("http", "https")]
    introspection_credential: Secret
    allowed_origins: Annotated[frozenset[str], NoDecode] = frozenset()

    redis_url: Annotated[str, _url("redis", "rediss", "unix")]
    redis_credential: RedisCredential = RedisCredential()

    engine_url: Annotated[tuple[EngineUrl, ...], NoDecode, Field(min_length=1)]
    engine_api_key: SecretStr = Field(default=SecretStr("EMPTY"), min_length=1)
    engine_dialect: Literal["vllm", "openai"] = "vllm"
    engine_read_timeout_seconds: float = Field(default=300, gt=0)
    engine_token_seconds: float = Field(default=30, gt=0)
    engine_patience_seconds: float = Field(default=120, ge=0)
    engine_connections: int = Field(default=4096, ge=1)
    server_key: Secret

    model: str = ""
    generation: GenerationDefaults = GenerationDefaults()

    responses_kept_days: int = Field(default=30, ge=1)
    events_kept_seconds: int = Field(default=3600, ge=60)
    stored_bytes_per_user: int = Field(default=64 * 2**20, ge=2**20)
    titles: Literal["model", "words", "off"] = "model"

    answers_per_user: int = Field(default=32, ge=1)
    requests_per_user: int = Field(default=64, ge=1)
    sockets_per_user: int = Field(default=64, ge=1)
    socket_age_seconds: float = Field(default=3600, gt=0)
    socket_first_event_seconds: float = Field(default=300, gt=0)
    plain_text_protocol: bool = True
    announce_leavers: bool = False
    drain_seconds: float = Field(default=8, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _split_lists(cls, values: dict[str, object]) -> dict[str, object]:
        lists = {name: values.get(name) for name in ("allowed_origins", "engine_url")}
        split = {
            name: [part.strip() for part in value.split(",") if part.strip()]
            for name, value in lists.items()
            if isinstance(value, str)
        }
        return {**values, **split}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        directory = os.environ.get(SECRETS_DIR_VARIABLE)
        nested = {name: _read_nested(model, prefix, directory) for name, (model, prefix) in _NESTED.items()}
        sources = init_settings, env_settings, InitSettingsSource(settings_cls, nested)
        if not directory:
            return sources
        return *sources, SecretsSettingsSource(settings_cls, directory, env_prefix="")

    @classmethod
    def from_environment(cls) -> Self:
        """Raises ValueError if a variable is unknown, or a value is missing or invalid."""
        known = {*cls.variables(), SECRETS_DIR_VARIABLE}
        unknown = sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in known)
        if unknown:
            raise ValueError(f"unknown setting {', '.join(unknown)}; see docs/configuration.md")
        return cls()

    @classmethod
    def variables(cls) -> list[str]:
        flat = [variable(name) for name in cls.model_fields if name not in _NESTED]
        return flat + [variable(name, field) for name, (model, _) in _NESTED.items() for field in model.model_fields]


def variable(*location: int | str) -> str:
    """The environment variable of a field, which may be that of a nested model."""
    name, *rest = (str(part) for part in location)
    path = _NESTED[name][1] + "_".join(rest) if name in _NESTED else "_".join((name, *rest))
    return _PREFIX + path.upper()


def _read_nested(model: type[BaseModel], prefix: str, directory: str | None) -> dict[str, Any]:
    fields = cast("type[BaseSettings]", model)  # of which the sources read the fields only
    values = EnvSettingsSource(fields, env_prefix=_PREFIX + prefix)()
    if not directory:
        return values
    return SecretsSettingsSource(fields, directory, env_prefix=prefix)() | values
