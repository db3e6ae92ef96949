"""The events of one turn, in order, for any number of followers.

The owner appends; a follower reads from a sequence number on, at its own pace. Each event is encoded once.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from gateway.protocol.events import Event, Terminal, frame


class TurnLog:
    def __init__(self) -> None:
        self._frames: list[str] = []
        self._ended = False
        self._changed = asyncio.Event()

    def append(self, events: Sequence[Event]) -> None:
        if not events:
            return
        self._frames.extend(frame(event) for event in events)
        self._ended = isinstance(events[-1], Terminal)
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, starting_after: int = -1) -> AsyncIterator[str]:
        """Frames with a `sequence_number` above `starting_after`, until the terminal one."""
        position = starting_after + 1
        while True:
            while position < len(self._frames):
                yield self._frames[position]
                position += 1
            if self._ended:
                return
            await self._changed.wait()
