"""Leaving: the turns of a gateway that is told to stop go on elsewhere, at once where there is another."""

import logging
from typing import Protocol

from gateway.errors import Unavailable
from gateway.turns.turns import Turns

logger = logging.getLogger(__name__)


class Leases(Protocol):
    async def others(self) -> list[str]: ...
    async def leave(self) -> None: ...


class Messenger(Protocol):
    async def tell(self, gateway_id: str, wish: dict[str, str]) -> None: ...


async def hand_over(turns: Turns, leases: Leases, messenger: Messenger, gateway_id: str, seconds: float) -> None:
    """With nobody to take them the turns have `seconds` to end; what has not is gone on with by whoever starts next."""
    try:
        others = await leases.others()
    except Unavailable:
        others = []
    if not others:
        await turns.finish(seconds)
    await turns.release()
    try:
        await leases.leave()
        for other in others:
            await messenger.tell(other, {"released": gateway_id})
    except Unavailable:
        logger.warning("left without a word: the lease will lapse")
