"""This gateway's list of its turns: what others take over when it dies."""

import logging

from gateway.errors import Unavailable
from gateway.runtime.ports import Leases

logger = logging.getLogger(__name__)


class Listing:
    def __init__(self, ownership: Leases) -> None:
        self._ownership = ownership

    async def add(self, user_id: str, response_id: str) -> None:
        """Before the turn is accepted. Raises Unavailable."""
        await self._ownership.add(user_id, response_id)

    async def add_again(self, user_id: str, response_id: str) -> None:
        """Whoever was frozen while it accepted may have been taken for dead, and its list for one of turns that never
        were."""
        try:
            await self._ownership.add(user_id, response_id)
        except Unavailable:
            logger.warning("a turn may not be listed", extra={"response": response_id})

    async def remove(self, user_id: str, response_id: str) -> None:
        try:
            await self._ownership.remove(user_id, response_id)
        except Unavailable:
            # Whoever comes to take it over finds that it has ended, or never was.
            logger.info("a turn is still listed", extra={"response": response_id})
