"""What is fixed before a turn starts; stored with it, so that another gateway can continue it."""

import msgspec

from gateway.inference import OutputOptions, Sampling
from gateway.protocol.resources import Truncation
from gateway.protocol.tools import ReasoningConfig

# Stored as JSON with each turn: what an earlier version wrote must stay readable.
_STORED_NAMES = {
    "options": "form",
    "first_position": "position",
    "thread_id": "thread",
    "system_prompt": "system",
    "prompt_digest": "shape",
    "history_positions": "before",
    "older_count": "older",
}


class TurnRequest(msgspec.Struct, frozen=True, rename=_STORED_NAMES):
    """Times are Unix seconds.

    `thread_id` names where its items are stored, None when nowhere; they take the positions from `first_position` on.
    `prompt_digest` differs between prompts that differ in more than their items. `history_positions` are those of the
    items it continues from, None where an earlier version stored the turn; `older_count` items stand before them.
    """

    response_id: str
    user_id: str
    model: str
    sampling: Sampling
    options: OutputOptions
    created_at: int
    first_position: int = 0
    thread_id: str | None = None
    conversation_id: str | None = None
    previous_response_id: str | None = None
    instructions: str | None = None
    metadata: dict[str, str] = {}
    max_output_tokens: int | None = None
    truncation: Truncation = "disabled"
    background: bool = False
    generate: bool = True
    reasoning: ReasoningConfig | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    system_prompt: str | None = None
    prompt_digest: str = ""
    history_positions: tuple[int, ...] | None = None
    older_count: int = 0

    @property
    def stored(self) -> bool:
        return self.thread_id is not None
