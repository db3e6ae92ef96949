"""The model that is served, in OpenAI's shape. vLLM's own would name folders of its machine."""

from typing import Literal

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """`max_model_len` is an addition, vLLM's word for the whole context in tokens; absent where it is not known."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["parley"] = "parley"
    max_model_len: int | msgspec.UnsetType = msgspec.UNSET


class Models(msgspec.Struct, frozen=True):
    data: tuple[Model, ...]
    object: Literal["list"] = "list"
