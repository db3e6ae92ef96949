"""The frames of one answer as far as this process has them. A follower reads at its own pace, from any number on."""

import asyncio
from collections.abc import AsyncIterator, Sequence


class EventBuffer:
    def __init__(self, frames: Sequence[str] = ()) -> None:
        self._frames = list(frames)
        self._ended = asyncio.Event()
        self._changed = asyncio.Event()
        self._moved = False

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def ended(self) -> bool:
        """No more come here."""
        return self._ended.is_set()

    @property
    def complete(self) -> bool:
        """The terminal one is here."""
        return self._ended.is_set() and not self._moved

    def append(self, frames: Sequence[str], *, ended: bool) -> None:
        self._frames += frames
        if ended:
            self._ended.set()
        self._wake()

    def move(self) -> None:
        """The turn goes on elsewhere: no more frames come here."""
        self._moved = True
        self._ended.set()
        self._wake()

    async def end(self) -> None:
        """Waits for the terminal event, or for the move."""
        await self._ended.wait()

    async def follow(self, starting_after: int = -1) -> AsyncIterator[str]:
        """Frames with a `sequence_number` above `starting_after`, until the terminal one or the last before a move."""
        position = starting_after + 1
        while True:
            while position < len(self._frames):
                yield self._frames[position]
                position += 1
            if self._ended.is_set():
                return
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
