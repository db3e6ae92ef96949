"""This gateway's list of its turns in Redis: what other gateways take over when it dies."""

import logging
from typing import Protocol

from gateway.errors import Unavailable

logger = logging.getLogger(__name__)


class Leases(Protocol):
    async def add_turn(self, user_id: str, response_id: str) -> None: ...
    async def remove_turn(self, user_id: str, response_id: str) -> None: ...


class TurnList:
    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    async def add(self, user_id: str, response_id: str) -> None:
        """Before the turn is accepted, so that it is found if this gateway dies at once. Raises Unavailable."""
        await self._leases.add_turn(user_id, response_id)

    async def add_again(self, user_id: str, response_id: str) -> None:
        """After a slow acceptance: other gateways may have taken this one for dead, and removed the turn as one that
        was never accepted."""
        try:
            await self._leases.add_turn(user_id, response_id)
        except Unavailable:
            logger.warning("a turn may not be listed", extra={"response": response_id})

    async def remove(self, user_id: str, response_id: str) -> None:
        try:
            await self._leases.remove_turn(user_id, response_id)
        except Unavailable:
            # A gateway that takes it over finds that it has ended, or was never accepted.
            logger.info("a turn is still listed", extra={"response": response_id})
