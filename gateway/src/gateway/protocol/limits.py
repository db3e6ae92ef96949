"""Sizes and ranges of the fields of requests."""

from typing import Annotated

from msgspec import Meta

MAX_ID_LENGTH = 80
MAX_OPAQUE_LENGTH = 200

Id = Annotated[str, Meta(max_length=MAX_ID_LENGTH)]
ModelName = Annotated[str, Meta(max_length=200)]
MetadataKey = Annotated[str, Meta(max_length=64)]
MetadataValue = Annotated[str, Meta(max_length=512)]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)]

Temperature = Annotated[float, Meta(ge=0, le=2)]
TopP = Annotated[float, Meta(gt=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
RepetitionPenalty = Annotated[float, Meta(gt=0, le=10)]
OutputTokens = Annotated[int, Meta(ge=1, le=1_000_000)]
Opaque = Annotated[str, Meta(max_length=MAX_OPAQUE_LENGTH)]

# Never reached; some JSON parsers cannot represent much larger integers.
MAX_SEQUENCE_NUMBER = 2**31
