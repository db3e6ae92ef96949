"""One user's turn at what all users share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from weakref import WeakValueDictionary

from gateway.pauses import user_at_work


class UserLock:
    """Work that one user can only do once at a time; that of different users runs concurrently."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Waits in line. The gateway's own work never waits."""
        user_id = user_at_work.get()
        async with self._locks.setdefault(user_id, asyncio.Lock()) if user_id else nullcontext():
            yield
