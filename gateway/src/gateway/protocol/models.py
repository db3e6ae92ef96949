"""The served model, in OpenAI's shape. vLLM's own would reveal paths of its machine."""

from typing import Literal

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """`max_model_len` is an addition, vLLM's name for the size of the context window in tokens; absent if unknown."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["parley"] = "parley"
    max_model_len: int | msgspec.UnsetType = msgspec.UNSET


class Models(msgspec.Struct, frozen=True):
    data: tuple[Model, ...]
    object: Literal["list"] = "list"
