"""How many tokens a prompt has, by the engine's own count, without generating an answer."""

from gateway.context.prompt import merge_adjacent_roles
from gateway.errors import ContextLengthExceeded, EngineRefused
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import InputTokens
from gateway.runtime.ports import ModelServer
from gateway.runtime.preparation import TurnPreparation


class TokenCounter:
    def __init__(self, engine: ModelServer, preparation: TurnPreparation) -> None:
        self._engine = engine
        self._preparation = preparation

    async def count(self, user_id: str, create: ResponseCreate) -> InputTokens:
        """Of the whole conversation, whether it fits or not.

        Raises what TurnPreparation.prepare raises, EngineFailed, EngineRefused where the engine cannot count, and
        ContextLengthExceeded for more than a request reads.
        """
        prepared = await self._preparation.prepare(user_id, create, {}, response_id="")
        while prepared.history.can_read_more:
            prepared = await self._preparation.load_older(prepared, prepared.older_count)
        if prepared.older_count:
            raise ContextLengthExceeded
        messages = merge_adjacent_roles(prepared.messages)
        counted = await self._engine.tokenize(messages, prepared.turn.request.options, affinity=prepared.affinity)
        if counted is None:
            raise EngineRefused("it cannot count tokens")
        return InputTokens(counted.count)
