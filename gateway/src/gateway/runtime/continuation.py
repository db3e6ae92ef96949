"""Continues an interrupted answer after its last token, by token ids.

Text could be tokenized differently: continued by text, 9 of 20 greedy answers were identical; by token ids, 20 of 20.
"""

from dataclasses import replace

from gateway.errors import AnswerInterrupted, EngineFailed
from gateway.inference import EngineCall
from gateway.runtime.generation_state import GenerationState
from gateway.runtime.ports import ModelServer
from gateway.turn.log import TurnLog

# The longest character has four bytes, and a token at least one.
_MAX_CHARACTER_TOKENS = 4
_REPLACEMENT_CHARACTER = "\ufffd"


class Continuation:
    def __init__(self, engine: ModelServer, log: TurnLog, state: GenerationState, *, affinity: str) -> None:
        self._engine = engine
        self._log = log
        self._request = log.turn.request
        self._state = state
        self._affinity = affinity

    def check_possible(self) -> None:
        """Raises AnswerInterrupted: token ids continue plain text only, not half a call, a thought or a schema."""
        turn = self._log.turn
        is_plain = self._state.token_ids and self._request.options.is_plain and turn.text_is_open
        if not turn.nothing_shown and not is_plain:
            raise AnswerInterrupted

    async def trim_incomplete_utf8(self) -> None:
        """Continued inside a character, the engine generates invalid text: the character is generated again."""
        ids = self._state.token_ids
        for dropped in range(min(_MAX_CHARACTER_TOKENS, len(ids))):
            rest = ids[: len(ids) - dropped]
            tail = await self._engine.detokenize(rest[-2 * _MAX_CHARACTER_TOKENS :], affinity=self._affinity)
            if not tail.endswith(_REPLACEMENT_CHARACTER):
                if dropped:
                    del ids[len(ids) - dropped :]
                    self._log.drop_token_ids(dropped)
                return

    async def tokens_left(self) -> int | None:
        """Until the context or the requested maximum is full; None without either limit."""
        used = len(self._state.prompt_ids) + len(self._state.token_ids)
        limit, wanted = await self._engine.context_limit(), self._request.sampling.max_output_tokens
        left = [] if limit is None else [limit - used]
        if wanted is not None:
            left.append(wanted - len(self._state.token_ids))
        return min(left) if left else None

    async def check_model(self) -> None:
        """Raises EngineFailed: the token ids of one model mean nothing to another."""
        served = await self._engine.model()
        if served != self._request.model:
            raise EngineFailed(f"the model server now serves {served!r}; ask again")

    def call(self, *, max_output_tokens: int | None, request_id: str) -> EngineCall:
        return EngineCall(
            prompt=(),
            sampling=replace(self._request.sampling, max_output_tokens=max_output_tokens),
            options=self._request.options,
            user_id=self._request.user_id,
            request_id=request_id,
            affinity=self._affinity,
            token_ids=(*self._state.prompt_ids, *self._state.token_ids),
        )
