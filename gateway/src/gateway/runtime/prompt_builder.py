"""The prompt of a turn: the items of its history and input as messages, under the right system prompt."""

import hashlib
from collections.abc import Sequence
from functools import partial
from itertools import takewhile

import msgspec

from gateway.context.prompt import PromptHistory, assemble, prompt_messages
from gateway.context.tool_calls import drop_orphaned_outputs
from gateway.inference import PromptMessage
from gateway.pauses import Pacer
from gateway.protocol.create import ResponseCreate
from gateway.protocol.items import Compaction, Item, Message, introduces
from gateway.runtime.user_encryption import UserEncryption
from gateway.turn.records import ThreadSnapshot

_encode = msgspec.json.Encoder().encode


class PromptBuilder:
    def __init__(self, encryption: UserEncryption, default_system_prompt: str) -> None:
        """With an empty `default_system_prompt` the deployment adds no system prompt."""
        self._encryption = encryption
        self._default_system_prompt = default_system_prompt

    async def messages(self, user_id: str, items: Sequence[Item]) -> list[PromptMessage]:
        """Raises InvalidRequest for a compaction that was not made here for this user."""
        messages: list[PromptMessage] = []
        pacer = Pacer()
        for item in items:
            messages += prompt_messages((item,), partial(self._decrypt, user_id))
            await pacer.pause_if_due()
        return messages

    async def build(self, user_id: str, snapshot: ThreadSnapshot, new: Sequence[Item]) -> PromptHistory:
        """Raises InvalidRequest."""
        head = await self.messages(user_id, snapshot.head)
        history = await self.messages(user_id, drop_orphaned_outputs(snapshot.items))
        return assemble([*head, *history], await self.messages(user_id, new))

    def system_prompt(self, create: ResponseCreate, snapshot: ThreadSnapshot, new: Sequence[Item]) -> str | None:
        """The request's instructions, else the conversation's. The deployment's own only where the conversation does
        not begin with instructions as items."""
        instructions = create.instructions or snapshot.generation.instructions
        leading = takewhile(introduces, (*snapshot.head, *snapshot.items, *new))
        has_own = any(isinstance(item, Message) for item in leading)
        return instructions if instructions or has_own else self._default_system_prompt or None

    def _decrypt(self, user_id: str, compaction: Compaction) -> str:
        return self._encryption.decrypt(user_id, compaction.encrypted_content)


def prompt_digest(model: str, system_prompt: str | None, create: ResponseCreate) -> str:
    """Of everything in a prompt but its items. A chat template renders the reasoning effort too."""
    effort = create.reasoning.effort if create.reasoning else None
    return hashlib.sha256(_encode((model, system_prompt, create.tools, create.tool_choice, effort))).hexdigest()[:16]
