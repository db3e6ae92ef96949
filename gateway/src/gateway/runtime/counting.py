"""How long a prompt would be, by the engine's own count, without asking for an answer to it."""

from gateway.context.prompt import alternating
from gateway.errors import EngineRefused
from gateway.protocol.create import ResponseCreate
from gateway.protocol.resources import InputTokens
from gateway.runtime.ports import ModelServer
from gateway.runtime.preparation import TurnPreparation


class TokenCounter:
    def __init__(self, engine: ModelServer, acceptance: TurnPreparation) -> None:
        self._engine = engine
        self._acceptance = acceptance

    async def count(self, user_id: str, create: ResponseCreate) -> InputTokens:
        """Of all that was said, whether it fits or not.

        Raises what TurnPreparation.prepare raises, EngineFailed, and EngineRefused where the engine can not count.
        """
        accepted = await self._acceptance.prepare(user_id, create, {}, response_id="")
        if accepted.older:
            await accepted.load_older(accepted.older)
        counted = await self._engine.count(
            alternating([*accepted.introduction, *(prompt for turn in accepted.exchanges for prompt in turn)]),
            accepted.turn.request.form,
            affinity=accepted.affinity,
        )
        if counted is None:
            raise EngineRefused("it can not count tokens")
        return InputTokens(counted.tokens)
