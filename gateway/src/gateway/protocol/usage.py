"""A user's usage by day: an addition to OpenAI's API."""

from typing import Literal

import msgspec

RETENTION_DAYS = 100


class UsageOfDay(msgspec.Struct, frozen=True):
    """`date` is a day in UTC, as YYYY-MM-DD."""

    date: str
    requests: int
    input_tokens: int
    output_tokens: int


class UsageOfDays(msgspec.Struct, frozen=True):
    """The newest day first."""

    data: tuple[UsageOfDay, ...]
    object: Literal["list"] = "list"
